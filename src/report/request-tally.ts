/** Requests by kind: how many, how fast, and which failed how. */
import type { ReplyEvent, RequestEvent } from '../iommu/events.ts'
import { Histogram } from './histogram.ts'
import { type FailureReport, KINDS, type Kind, type KindReport } from './report.ts'
import { formatAddress, formatRange, formatRights } from './units.ts'

/** See above. */
export class RequestTally {
  private readonly kinds = KINDS.map(kind => ({ kind, count: 0, failed: 0, latency: new Histogram() }))
  private readonly failures = new Map<string, { count: number; readonly first: RequestEvent; readonly atMs: number }>()

  /** Counts a request; returns its place among `KINDS`. */
  request({ request }: RequestEvent): number {
    const index = kindOf(request)
    const tally = this.kinds[index]
    if (tally !== undefined) tally.count++
    return index
  }

  reply(request: RequestEvent, { status, us }: ReplyEvent, atMs: number): void {
    this.kinds[kindOf(request.request)]?.latency.add(us)
    if (status !== 'OK') this.failed(request, status ?? 'none', atMs)
  }

  /** A request without an answer. */
  unanswered(request: RequestEvent, atMs: number): void {
    this.failed(request, 'unanswered', atMs)
  }

  kindReports(): readonly KindReport[] {
    return this.kinds
      .filter(({ count }) => count > 0)
      .map(({ kind, count, failed, latency }) => ({ kind, count, failed, latency: latency.summary() }))
  }

  /** The most frequent first. */
  failureReports(): readonly FailureReport[] {
    return [...this.failures]
      .map(([key, { count, first, atMs }]) => {
        const { request, seq, bytes } = first
        return { request, status: key.slice(request.length + 1), count, seq, atMs, detail: detailOf(first), bytes }
      })
      .sort((a, b) => b.count - a.count)
  }

  private failed(request: RequestEvent, status: string, atMs: number): void {
    const tally = this.kinds[kindOf(request.request)]
    if (tally !== undefined) tally.failed++
    const key = `${request.request} ${status}`
    const failure = this.failures.get(key)
    if (failure === undefined) this.failures.set(key, { count: 1, first: request, atMs })
    else failure.count++
  }
}

function kindOf(request: string): number {
  const index = KINDS.indexOf(request as Kind)
  return index < 0 ? KINDS.length - 1 : index
}

/** A request's fields, for people. */
function detailOf({ request, domain, endpoint, start, end, phys, flags }: RequestEvent): string {
  const parts: string[] = []
  if (domain !== undefined) parts.push(`domain ${domain}`)
  if (endpoint !== undefined) parts.push(`endpoint ${formatAddress(endpoint)}`)
  if (start !== undefined && end !== undefined)
    parts.push(/^0x[0-9a-f]{1,13}$/.test(end) ? formatRange(Number(start), Number(end)) : `${start}-${end}`)
  if (phys !== undefined) parts.push(`to ${phys}`)
  if (flags !== undefined)
    parts.push(request === 'MAP' && flags < 8 ? formatRights(flags) : `flags ${formatAddress(flags)}`)
  return parts.join(', ')
}

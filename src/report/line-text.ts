/** A line of a trace for people: the time, what happened, and its values in columns. */
import type { IommuEvent, RequestEvent } from '../iommu/events.ts'
import { featureNames } from './feature-names.ts'
import { formatAddress, formatRights } from './units.ts'

/** Room for "12345.678". */
const TIME = 12
const WORD = 8

/**
 * See above; remembers the names of endpoints.
 *
 * @example
 * const format = new LineText()
 * format.line({ t: 1.5, type: 'reply', seq: 7, status: 'OK', written: 4, us: 2 }) // '       1.500  reply    #7 OK in 2 us'
 */
export class LineText {
  private readonly names: Map<number, string>

  /** `names` of the endpoints, where the trace does not begin with them. */
  constructor(names: Iterable<readonly [number, string]> = []) {
    this.names = new Map(names)
  }

  line(event: IommuEvent): string {
    return `${event.t.toFixed(3).padStart(TIME)}  ${this.words(event)}`.trimEnd().replace(/\p{Cc}/gu, '?')
  }

  private words(event: IommuEvent): string {
    switch (event.type) {
      case 'start':
        for (const { id, name } of event.endpoints) this.names.set(id, name)
        return (
          `${'start'.padEnd(WORD)} granule ${event.granule}, input ${event.input.join('-')}, ` +
          `bypass ${event.bypass ? 'on' : 'off'}, ${event.endpoints.map(({ name }) => name).join(' ')}`
        )
      case 'request':
        return `${event.request.padEnd(WORD)} #${event.seq} ${this.fields(event)}`
      case 'reply':
        return `${'reply'.padEnd(WORD)} #${event.seq} ${event.status ?? 'without a status'} in ${event.us} us`
      case 'fault': {
        const where = event.domain === undefined ? '' : ` in domain ${event.domain}`
        const told =
          event.source === 'host' ? `, the host says${event.detail === undefined ? ' so' : `: ${event.detail}`}` : ''
        return `${'FAULT'.padEnd(WORD)} ${event.name}: ${event.access} at ${event.address}${where} (${event.reason})${told}`
      }
      case 'backend': {
        const { name, refused, outcome, error } = event
        return `${'HOST'.padEnd(WORD)} ${name} refuses ${refused}: ${outcome}${error === undefined ? '' : ` (${error})`}`
      }
      case 'invalidation': {
        const { cause, domain, start, end, mappings, endpoints, waitedUs } = event
        const names = endpoints.map(id => this.name(id)).join(' ')
        return (
          `${'gone'.padEnd(WORD)} by ${cause}: ${domain === undefined ? '' : `domain ${domain} `}${start}-${end}, ` +
          `mappings ${mappings}${names && `, kept by ${names}`}${waitedUs === 0 ? '' : `, waited ${waitedUs} us`}`
        )
      }
      case 'drop':
        return `${'drop'.padEnd(WORD)} fault of ${this.name(event.endpoint)} at ${event.address}: ${event.cause}`
      case 'finding':
        return `${'BREACH'.padEnd(WORD)} ${event.name} (${event.section}): ${event.text}`
      case 'features':
        return `${'features'.padEnd(WORD)} ${featureNames(event.value ?? '0x0')}`
      default:
        return `${event.type.padEnd(WORD)} ${event.value ?? ''}`
    }
  }

  private fields({ request, domain, endpoint, start, end, phys, flags }: RequestEvent): string {
    const parts: string[] = []
    if (domain !== undefined) parts.push(`domain ${domain}`)
    if (endpoint !== undefined) parts.push(this.name(endpoint))
    if (start !== undefined) parts.push(`${start}-${end}`)
    if (phys !== undefined) parts.push(`-> ${phys}`)
    if (flags !== undefined && (request === 'MAP' || flags !== 0))
      parts.push(request === 'MAP' && flags < 8 ? formatRights(flags) : `flags ${formatAddress(flags)}`)
    return parts.join(' ')
  }

  private name(endpoint: number): string {
    return this.names.get(endpoint) ?? `endpoint ${formatAddress(endpoint)}`
  }
}

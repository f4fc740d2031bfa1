/** Faults, grouped by endpoint, access and kind of cause. */
import type { FaultEvent } from '../iommu/events.ts'
import { CAUSES, type FaultContext, faultCause } from './fault-cause.ts'
import type { FaultReport } from './report.ts'

/** Groups; faults beyond count only. */
const MAX_GROUPS = 256
const MAX_EXAMPLES = 16
/** Faults whose causes are looked for: looking takes a while. */
const MAX_CAUSES = 5000

type Group = { -readonly [K in keyof FaultReport]: FaultReport[K] } & { examples: FaultReport['examples'][number][] }

/** See above. */
export class FaultTally {
  count = 0
  private readonly groups = new Map<string, Group>()
  private readonly byEndpoint = new Map<number, number>()

  add(fault: FaultEvent, context: FaultContext, atMs: number): void {
    this.count++
    this.byEndpoint.set(fault.endpoint, this.of(fault.endpoint) + 1)
    const { endpoint, name, reason, access, domain } = fault
    const { cause, text } = this.count <= MAX_CAUSES ? causeOf({ ...fault, t: atMs }, context) : UNKNOWN
    const key = [endpoint, domain, reason, access, cause].join(' ')
    const address = Number(fault.address)
    let group = this.groups.get(key)
    if (group === undefined) {
      if (this.groups.size === MAX_GROUPS) return
      const range = { low: address, high: address, firstMs: atMs, lastMs: atMs }
      group = { endpoint, name, domain, reason, access, cause, count: 0, ...range, examples: [] }
      this.groups.set(key, group)
    }
    group.count++
    group.low = Math.min(group.low, address)
    group.high = Math.max(group.high, address)
    group.lastMs = atMs
    if (group.examples.length < MAX_EXAMPLES) group.examples.push({ atMs, address, text })
  }

  /** Faults of one endpoint. */
  of(endpoint: number): number {
    return this.byEndpoint.get(endpoint) ?? 0
  }

  /** The most frequent first. */
  reports(): readonly FaultReport[] {
    return [...this.groups.values()].sort((a, b) => b.count - a.count)
  }
}

function causeOf(fault: FaultEvent, context: FaultContext): { readonly cause: string; readonly text: string } {
  const { cause, text } = faultCause(fault, context)
  if (fault.source !== 'host') return { cause: CAUSES[cause], text }
  const words = fault.detail === undefined ? '' : `; the host says: ${fault.detail}`
  return { cause: `${CAUSES[cause]} (host)`, text: `${text}${words}` }
}

const UNKNOWN = { cause: 'one of many', text: '' }

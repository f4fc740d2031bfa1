/**
 * What the requests of a trace come to: which endpoint was in which domain, and what was mapped when. Requests count
 * when they were answered with OK; a trace that begins in the middle unmaps what it never saw mapped.
 */
import type { RequestEvent } from '../iommu/events.ts'
import type { Mapping, MappingEnd } from './mapping.ts'
import { MappingIndex } from './mapping-index.ts'

/** VIRTIO_IOMMU_ATTACH_F_BYPASS. */
const ATTACH_BYPASS = 1
/** Mappings that are remembered after their end; later ones only count. */
const MAX_ENDED = 2_000_000
/** Ended mappings that a fault is compared with. */
const RECENT = 16_384

/** A domain at the present point of the replay. */
export interface ReplayDomain {
  readonly id: number
  readonly bypass: boolean
  readonly endpoints: Set<number>
  readonly mappings: MappingIndex
  bytes: number
}

/** When and how an endpoint left its last domain. */
export interface Departure {
  readonly atMs: number
  readonly cause: 'DETACH' | 'reset'
}

/** See above. */
export class Replay {
  readonly domains = new Map<number, ReplayDomain>()
  readonly departures = new Map<number, Departure>()
  /** Mappings that have ended, as far as they are remembered, in the order of their ends. */
  readonly ended: Mapping[] = []
  endedCount = 0
  /** Live ones, in all domains. */
  mappings = 0
  bytes = 0
  private readonly recent: Mapping[] = []
  private readonly domainOf = new Map<number, number>()

  /** `onEnd` is told of each mapping's end. */
  constructor(private readonly onEnd: (mapping: Mapping) => void = () => {}) {}

  /** A request that was answered with OK. */
  apply(request: RequestEvent, atMs: number): void {
    switch (request.request) {
      case 'ATTACH':
        this.attach(request.endpoint ?? 0, request.domain ?? 0, ((request.flags ?? 0) & ATTACH_BYPASS) !== 0, atMs)
        break
      case 'DETACH':
        this.detach(request.endpoint ?? 0, atMs, 'DETACH')
        break
      case 'MAP':
        this.map(request, atMs)
        break
      case 'UNMAP':
        this.unmap(request, atMs)
        break
      default:
    }
  }

  /** An endpoint comes to a domain. */
  attach(endpoint: number, domain: number, bypass: boolean, atMs: number): void {
    if (this.domainOf.get(endpoint) === domain) return
    this.leave(endpoint, atMs, 'ATTACH')
    this.domainOf.set(endpoint, domain)
    this.domain(domain, bypass).endpoints.add(endpoint)
    this.departures.delete(endpoint)
  }

  /** All endpoints leave their domains. */
  reset(atMs: number): void {
    for (const endpoint of [...this.domainOf.keys()]) this.detach(endpoint, atMs, 'reset')
    // Those of a trace that began in the middle.
    for (const domain of [...this.domains.values()]) this.destroy(domain, atMs, 'reset')
  }

  /** The domain that an endpoint is in. */
  domainWith(endpoint: number): ReplayDomain | undefined {
    const id = this.domainOf.get(endpoint)
    return id === undefined ? undefined : this.domains.get(id)
  }

  /** Mappings of `domain` that ended last, the last one first. */
  *recentlyEnded(domain: number): Generator<Mapping> {
    const from = this.endedCount
    for (let back = 1; back <= Math.min(from, RECENT); back++) {
      const mapping = this.recent[(from - back) % RECENT]
      if (mapping?.domain === domain) yield mapping
    }
  }

  private detach(endpoint: number, atMs: number, cause: 'DETACH' | 'reset'): void {
    this.leave(endpoint, atMs, cause)
    this.departures.set(endpoint, { atMs, cause })
  }

  /** Takes an endpoint out of its domain, which ends with its last endpoint (VIRTIO 1.2 §5.13.6.4). */
  private leave(endpoint: number, atMs: number, cause: MappingEnd): void {
    const domain = this.domainWith(endpoint)
    this.domainOf.delete(endpoint)
    if (domain === undefined) return
    domain.endpoints.delete(endpoint)
    if (domain.endpoints.size === 0) this.destroy(domain, atMs, cause)
  }

  private destroy(domain: ReplayDomain, atMs: number, cause: MappingEnd): void {
    for (const mapping of domain.mappings.clear()) this.end(domain, mapping, atMs, cause)
    this.domains.delete(domain.id)
  }

  private map(request: RequestEvent, atMs: number): void {
    const { domain: id = 0, flags = 0, seq } = request
    const [start, end, phys] = [request.start, request.end, request.phys].map(Number) as [number, number, number]
    // No device answers that with OK: the trace was made by hand. Values that are not there compare as false.
    if (!(start <= end && phys >= 0)) return
    const domain = this.domain(id, false)
    domain.mappings.add({
      domain: id,
      start,
      end,
      phys,
      flags,
      seq,
      bornMs: atMs,
      diedMs: undefined,
      endedBy: undefined,
    })
    const bytes = end - start + 1
    domain.bytes += bytes
    this.bytes += bytes
    this.mappings++
  }

  private unmap({ domain: id = 0, start, end }: RequestEvent, atMs: number): void {
    const domain = this.domains.get(id)
    if (domain === undefined) return
    for (const mapping of domain.mappings.take(Number(start), Number(end))) this.end(domain, mapping, atMs, 'UNMAP')
  }

  private end(domain: ReplayDomain, mapping: Mapping, atMs: number, cause: MappingEnd): void {
    mapping.diedMs = atMs
    mapping.endedBy = cause
    const bytes = mapping.end - mapping.start + 1
    domain.bytes -= bytes
    this.bytes -= bytes
    this.mappings--
    if (this.ended.length < MAX_ENDED) this.ended.push(mapping)
    this.recent[this.endedCount % RECENT] = mapping
    this.endedCount++
    this.onEnd(mapping)
  }

  private domain(id: number, bypass: boolean): ReplayDomain {
    const there = this.domains.get(id)
    if (there !== undefined) return there
    const domain = { id, bypass, endpoints: new Set<number>(), mappings: new MappingIndex(), bytes: 0 }
    this.domains.set(id, domain)
    return domain
  }
}

/** Makes a report of a trace's events, one after the other. */
import type { InvalidationEvent, IommuEvent, RequestEvent, StartEvent } from '../iommu/events.ts'
import type { FaultContext } from './fault-cause.ts'
import { FaultTally } from './fault-tally.ts'
import { featureNames } from './feature-names.ts'
import { Histogram } from './histogram.ts'
import { leaksOf, runsOf } from './leaks.ts'
import type { Mapping } from './mapping.ts'
import { Replay } from './replay.ts'
import { type DomainReport, type FindingReport, KINDS, type Report, type WaitReport } from './report.ts'
import { RequestTally } from './request-tally.ts'
import { Timeline } from './timeline.ts'

const MAX_FINDINGS = 256
const MAX_WAITS = 10
const MAX_LIFE = 64

/** Where the trace comes from. */
export interface Source {
  readonly name: string
  readonly lines: number
  readonly isTruncated: boolean
}

/** A report, and the mappings of each domain for its picture. */
export interface BuiltReport {
  readonly report: Report
  readonly mappings: ReadonlyMap<number, readonly Mapping[]>
}

/** What a domain had, over all its lives. */
interface DomainTally {
  bypass: boolean
  readonly endpoints: Set<number>
  maps: number
  peakMappings: number
  peakBytes: number
}

/** See above. */
export class ReportBuilder {
  private start: StartEvent | undefined
  private starts = 0
  /** Added to an event's time: a machine that started again begins at 0. */
  private offsetMs = 0
  private firstMs: number | undefined
  private lastMs = 0
  private readonly names = new Map<number, string>()
  private readonly reserved = new Map<number, FaultContext['reserved']>()
  private readonly lifetimes = new Histogram()
  private readonly replay = new Replay(mapping => this.ended(mapping))
  /** Mappings that were there at a reset: the driver did not remove them. */
  private readonly reset: Mapping[] = []
  private readonly pending = new Map<number, RequestEvent>()
  private readonly requests = new RequestTally()
  private readonly faults = new FaultTally()
  private readonly timeline = new Timeline(KINDS.length + 1)
  private readonly domains = new Map<number, DomainTally>()
  private readonly findings = new Map<string, FindingReport>()
  private readonly drops = new Map<string, number>()
  private readonly life: { readonly atMs: number; readonly what: string }[] = []
  private longestWaits: WaitReport[] = []
  private peakMappings = 0
  private peakBytes = 0
  private invalidations = 0
  private waits = 0
  /** Mappings that UNMAP removed, as the device says. */
  private unmapped = 0
  private unmappedHere = 0

  add(event: IommuEvent): void {
    if (event.type === 'start') this.begin(event)
    const atMs = event.t + this.offsetMs
    this.firstMs ??= atMs
    this.lastMs = Math.max(this.lastMs, atMs)
    switch (event.type) {
      case 'request':
        this.timeline.add(atMs - this.firstMs, this.requests.request(event))
        this.pending.set(event.seq, event)
        break
      case 'reply': {
        const request = this.pending.get(event.seq)
        this.pending.delete(event.seq)
        // A trace may begin between the two.
        if (request === undefined) break
        this.requests.reply(request, event, atMs)
        // Whatever its host said, the device has removed the mappings.
        if (event.status === 'OK' || (event.status === 'DEVERR' && request.request === 'UNMAP'))
          this.apply(request, atMs)
        break
      }
      case 'fault':
        this.timeline.add(atMs - this.firstMs, KINDS.length)
        this.names.set(event.endpoint, event.name)
        this.faults.add(event, this.faultContext(event.endpoint), atMs)
        break
      case 'invalidation':
        this.invalidation(event, atMs)
        break
      case 'drop':
        this.drops.set(event.cause, (this.drops.get(event.cause) ?? 0) + 1)
        break
      case 'finding': {
        const { name, section, text, bytes, seq } = event
        const before = this.findings.get(name)
        if (before !== undefined) this.findings.set(name, { ...before, count: before.count + 1 })
        else if (this.findings.size < MAX_FINDINGS)
          this.findings.set(name, { name, section, count: 1, atMs, text, bytes, seq })
        break
      }
      case 'backend':
        this.lived(atMs, `${event.name} refuses ${event.refused}: ${event.error ?? event.outcome}`)
        break
      case 'reset':
        this.abandon(atMs)
        this.lived(atMs, 'reset')
        break
      case 'features':
        this.lived(atMs, `features ${featureNames(event.value ?? '0x0')}`)
        break
      case 'bypass':
        this.lived(atMs, `bypass ${event.value ?? ''}`.trim())
        break
      default:
    }
  }

  /** What it came to. */
  finish(source: Source): BuiltReport {
    for (const request of this.pending.values()) this.requests.unanswered(request, this.lastMs)
    this.pending.clear()
    const live = [...this.replay.domains.values()].flatMap(({ mappings }) => mappings.all())
    const kinds = this.requests.kindReports()
    const left = [...this.reset, ...live]
    const { start, firstMs = 0, lastMs } = this
    const report: Report = {
      ...source,
      hasStart: start !== undefined,
      granule: start?.granule,
      input: start?.input,
      bypass: start?.bypass,
      starts: this.starts,
      firstMs,
      lastMs,
      endpoints: [...this.names].map(([id, name]) => ({ id, name, faults: this.faults.of(id) })),
      kinds,
      requests: kinds.reduce((sum, { count }) => sum + count, 0),
      failed: kinds.reduce((sum, { failed }) => sum + failed, 0),
      timeline: { stepMs: this.timeline.stepMs, steps: this.timeline.steps() },
      peakMappings: this.peakMappings,
      peakBytes: this.peakBytes,
      domains: this.domainReports(),
      lifetimes: this.lifetimes.summary(),
      leakedMappings: left.length,
      leakedBytes: left.reduce((sum, { start, end }) => sum + end - start + 1, 0),
      resetMappings: this.reset.length,
      leaks: leaksOf(left, lastMs),
      failures: this.requests.failureReports(),
      faultCount: this.faults.count,
      faults: this.faults.reports(),
      drops: [...this.drops].map(([cause, count]) => ({ cause, count })),
      findings: [...this.findings.values()].sort((a, b) => b.count - a.count),
      invalidations: this.invalidations,
      unseen: Math.max(0, this.unmapped - this.unmappedHere),
      waits: this.waits,
      longestWaits: this.longestWaits,
      life: this.life,
    }
    const byDomain = (mapping: Mapping) => mapping.domain
    return { report, mappings: Map.groupBy([...this.replay.ended, ...live], byDomain) }
  }

  private begin(event: StartEvent): void {
    // Without a reset before, the machine was: its requests and mappings are gone.
    if (this.starts > 0) {
      this.offsetMs = Math.max(0, this.lastMs - event.t)
      this.abandon(this.lastMs)
    }
    this.starts++
    this.start ??= event
    for (const { id, name, domain, reserved = [] } of event.endpoints) {
      this.names.set(id, name)
      this.reserved.set(id, reserved)
      if (domain === undefined) continue
      this.replay.attach(id, domain, false, event.t + this.offsetMs)
      this.tally(domain).endpoints.add(id)
    }
  }

  private ended(mapping: Mapping): void {
    if (mapping.endedBy === 'reset') this.reset.push(mapping)
    else this.lifetimes.add((mapping.diedMs ?? 0) - mapping.bornMs)
  }

  private faultContext(endpoint: number): FaultContext {
    return { replay: this.replay, pending: this.pending.values(), reserved: this.reserved.get(endpoint) ?? [] }
  }

  private apply(request: RequestEvent, atMs: number): void {
    const { replay } = this
    const before = replay.endedCount
    replay.apply(request, atMs)
    if (request.request === 'UNMAP') this.unmappedHere += replay.endedCount - before
    this.timeline.gauge(atMs - (this.firstMs ?? 0), replay.mappings)
    this.peakMappings = Math.max(this.peakMappings, replay.mappings)
    this.peakBytes = Math.max(this.peakBytes, replay.bytes)
    const domain = request.domain === undefined ? undefined : replay.domains.get(request.domain)
    if (domain === undefined) return
    const tally = this.tally(domain.id)
    if (request.request === 'MAP') tally.maps++
    if (request.request === 'ATTACH') {
      tally.bypass = domain.bypass
      if (request.endpoint !== undefined) tally.endpoints.add(request.endpoint)
    }
    tally.peakMappings = Math.max(tally.peakMappings, domain.mappings.size)
    tally.peakBytes = Math.max(tally.peakBytes, domain.bytes)
  }

  private tally(domain: number): DomainTally {
    let tally = this.domains.get(domain)
    if (tally === undefined) {
      tally = { bypass: false, endpoints: new Set(), maps: 0, peakMappings: 0, peakBytes: 0 }
      this.domains.set(domain, tally)
    }
    return tally
  }

  /** A reset: nobody waits for answers any more, and nothing is mapped. */
  private abandon(atMs: number): void {
    for (const request of this.pending.values()) this.requests.unanswered(request, atMs)
    this.pending.clear()
    this.replay.reset(atMs)
    this.timeline.gauge(atMs - (this.firstMs ?? atMs), 0)
  }

  private invalidation(event: InvalidationEvent, atMs: number): void {
    const { cause, domain, start, end, mappings, endpoints, waitedUs } = event
    this.invalidations++
    if (cause === 'UNMAP') this.unmapped += mappings
    if (waitedUs === 0) return
    this.waits++
    const last = this.longestWaits.at(-1)
    if (this.longestWaits.length === MAX_WAITS && last !== undefined && last.waitedUs >= waitedUs) return
    const names = endpoints.map(id => this.names.get(id) ?? `endpoint ${id}`)
    this.longestWaits.push({ atMs, cause, domain, start, end, mappings, endpoints: names, waitedUs })
    this.longestWaits = this.longestWaits.sort((a, b) => b.waitedUs - a.waitedUs).slice(0, MAX_WAITS)
  }

  private lived(atMs: number, what: string): void {
    if (this.life.length < MAX_LIFE) this.life.push({ atMs, what })
  }

  private domainReports(): readonly DomainReport[] {
    return [...this.domains]
      .sort(([a], [b]) => a - b)
      .map(([id, { bypass, endpoints, maps, peakMappings, peakBytes }]) => {
        const domain = this.replay.domains.get(id)
        const live = domain?.mappings.all() ?? []
        const names = [...endpoints].map(endpoint => this.names.get(endpoint) ?? `endpoint ${endpoint}`)
        const now = { mappings: live.length, bytes: domain?.bytes ?? 0, runs: runsOf(live) }
        return { id, bypass, endpoints: names, maps, peakMappings, peakBytes, ...now }
      })
  }
}

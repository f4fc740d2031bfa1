/**
 * The IOMMU: endpoints, domains and their mappings, whatever the front end. Belongs to one thread; other threads may
 * translate (mapping-reader.ts).
 *
 * Requests that take translations away (`detach`, `unmap`, `attach` to another domain, `reset`) take effect for new
 * accesses at once, and call `done` when no device uses an old translation any more: mostly before they return.
 */
import { isAligned, isPowerOfTwo } from '../base/bits.ts'
import { assert, BadInput } from '../base/errors.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import { Backends } from './backends.ts'
import { Domain } from './domain.ts'
import { Endpoint, type EndpointOptions } from './endpoint.ts'
import { hex, type IommuTracer } from './events.ts'
import { type Fault, faultEvent } from './fault.ts'
import { MappingNodes } from './mapping-nodes.ts'
import { Insertion, MappingTable } from './mapping-table.ts'
import { Outcome } from './outcome.ts'
import { type Loss, Revocations } from './revocations.ts'
import type { IommuCounters, IommuState } from './state.ts'

/** Guest-physical addresses end here. */
const PHYS_END = 2 ** 52 - 1
/** The end of all addresses, for what concerns every one. */
const LAST = Number.MAX_SAFE_INTEGER
const PAGE_SIZE = 4096

/** An inclusive range. */
export interface Range {
  readonly start: number
  readonly end: number
}

export interface IommuOptions {
  readonly memory: GuestMemory
  /** Smallest mapping and alignment of all: a power of two from 4096 to 2^30. */
  readonly granule: number
  /** I/O virtual addresses that can be mapped; `end` is at most 2^52 - 1. */
  readonly input: Range
  /** Domain ids, 32 bits. */
  readonly domains: Range
  /** What endpoints in no domain do at the start: reach all of memory, or nothing. */
  readonly bypass: boolean
  /** Mappings in one domain and in all. */
  readonly limits: { readonly domain: number; readonly total: number }
  /** Where writes are message-signalled interrupts, by guest-physical address. */
  readonly doorbells: readonly Range[]
  /** Told when a back end fails, with a sentence for people; once for each kind of failure. */
  readonly warn?: (message: string) => void
}

/** An access of a device that the host's IOMMU refused. */
export interface HostFault {
  /** Of `Access`. */
  readonly access: number
  readonly address: number
  /** In the host's words. */
  readonly detail?: string
}

export type Done = (outcome: Outcome) => void

/** See above. */
export class Iommu {
  /** Told of each refused access; one at a time. */
  onFault: (fault: Fault) => void = () => {}
  private listener: IommuTracer | undefined
  private bypasses: boolean
  private readonly endpoints = new Map<number, Endpoint>()
  private readonly domains = new Map<number, Domain>()
  private readonly revocations = new Revocations()
  private readonly backends: Backends
  private readonly nodes: MappingNodes
  /** Mappings of all domains. */
  private mappings = 0
  private readonly counts = { attaches: 0, detaches: 0, maps: 0, unmaps: 0, removed: 0, faults: 0 }

  constructor(readonly options: IommuOptions) {
    const { granule, input, limits } = options
    assert(granule >= PAGE_SIZE && granule <= 2 ** 30 && isPowerOfTwo(granule), 'granules are 2^12 to 2^30')
    assert(input.start <= input.end && input.end <= PHYS_END, 'I/O virtual addresses have at most 52 bits')
    this.bypasses = options.bypass
    this.backends = new Backends(options.warn ?? (() => {}))
    this.nodes = new MappingNodes(limits.total)
  }

  /** Told of invalidations and faults, while somebody wants to know. */
  get tracer(): IommuTracer | undefined {
    return this.listener
  }

  set tracer(tracer: IommuTracer | undefined) {
    this.listener = tracer
    this.revocations.tracer = tracer
    this.backends.tracer = tracer
  }

  /** What endpoints in no domain do now. */
  get bypass(): boolean {
    return this.bypasses
  }

  set bypass(bypass: boolean) {
    if (bypass === this.bypasses) return
    this.bypasses = bypass
    const free = [...this.endpoints.values()].filter(endpoint => endpoint.domain === undefined)
    this.backends.bypassChanged(bypass)
    for (const endpoint of free) endpoint.settle(undefined, bypass)
    for (const endpoint of free) endpoint.space.invalidate(0, LAST)
    // Whoever may do less now looks again; the write of a configuration field cannot wait for more than that.
    if (!bypass)
      this.revocations.take(
        { cause: 'bypass', domain: undefined, start: 0, end: LAST, mappings: 0, endpoints: free },
        undefined,
      )
  }

  /** Throws `HostError` when a back end cannot let its devices reach all of memory, and bypass mode asks for that. */
  addEndpoint(options: EndpointOptions): Endpoint {
    const { id, name } = options
    assert(!this.endpoints.has(id), 'endpoints have different ids')
    const endpoint: Endpoint = new Endpoint(options, {
      memory: this.options.memory,
      doorbells: this.options.doorbells,
      refuse: (reason, access, address) => this.refuse(endpoint, { endpoint: id, name, reason, access, address }),
      released: () => this.revocations.released(),
    })
    this.backends.add(endpoint, this.bypasses)
    endpoint.settle(undefined, this.bypasses)
    this.endpoints.set(id, endpoint)
    return endpoint
  }

  endpoint(id: number): Endpoint | undefined {
    return this.endpoints.get(id)
  }

  domain(id: number): Domain | undefined {
    return this.domains.get(id)
  }

  /**
   * Attaches an endpoint, and detaches it from its present domain first. Makes the domain if need be. `noEntry`: no
   * such endpoint. `range`: a domain id outside the range. `invalid`: `bypass` is not what the domain is.
   * `unsupported`: mappings of the domain lie in the endpoint's reserved regions. What its back end answers comes back
   * too; until all endpoints of a back end are in one place, it lets nothing through. When it fails, nothing has changed.
   */
  attach(endpointId: number, domainId: number, bypass: boolean, done: Done): void {
    const endpoint = this.endpoints.get(endpointId)
    const present = this.domains.get(domainId)
    const refusal = this.refuseAttach(endpoint, domainId, present, bypass)
    if (endpoint === undefined || refusal !== Outcome.ok) {
      done(refusal)
      return
    }
    const domain = present ?? this.create(domainId, bypass)
    // A back end that failed before gets another chance even where nothing changes.
    const outcome = domain === undefined ? Outcome.noMemory : this.backends.attach(endpoint, domain, this.bypasses)
    if (domain === undefined || outcome !== Outcome.ok) {
      if (domain !== undefined && domain !== present) this.destroy(domain)
      done(outcome)
      return
    }
    this.counts.attaches++
    // VIRTIO 1.2 §5.13.6.3.2 detaches first if the endpoint is attached to another domain; here nothing changes.
    if (endpoint.domain === domain) done(Outcome.ok)
    else this.move(endpoint, domain, 'ATTACH', done)
  }

  /** `noEntry`: no such endpoint. `invalid`: it is not attached to this domain. */
  detach(endpointId: number, domainId: number, done: Done): void {
    const endpoint = this.endpoints.get(endpointId)
    if (endpoint === undefined) done(Outcome.noEntry)
    else if (endpoint.domain === undefined || endpoint.domain.id !== domainId) done(Outcome.invalid)
    else {
      this.counts.detaches++
      this.move(endpoint, undefined, 'DETACH', done)
    }
  }

  /**
   * Maps [start, end] to guest-physical addresses from `phys` on. `flags` are of `MapFlag`. What a back end refuses, with
   * whatever outcome, is mapped nowhere.
   */
  map(domainId: number, start: number, end: number, phys: number, flags: number): Outcome {
    const { granule, input, limits } = this.options
    const domain = this.domains.get(domainId)
    if (domain === undefined) return Outcome.noEntry
    if (domain.bypass || end < start) return Outcome.invalid
    // Of addresses that are too large to be exact only the size counts, and `input` refuses them.
    if (!isAligned(start, granule) || !isAligned(end + 1, granule) || !isAligned(phys, granule)) return Outcome.range
    if (start < input.start || end > input.end) return Outcome.range
    if (phys > PHYS_END - (end - start)) return Outcome.invalid
    const { endpoints } = domain
    for (let i = 0; i < endpoints.length; i++)
      if ((endpoints[i] as Endpoint).isReserved(start, end)) return Outcome.invalid
    if (domain.mappingCount >= limits.domain || this.mappings >= limits.total)
      return domain.table.search.overlaps(start, end) ? Outcome.invalid : Outcome.noMemory
    const insertion = domain.table.insert(start, end, phys, flags)
    if (insertion !== Insertion.ok) return insertion === Insertion.overlap ? Outcome.invalid : Outcome.noMemory
    if (domain.followers.length > 0) {
      const outcome = this.backends.map(domain, start, end, phys, flags)
      if (outcome !== Outcome.ok) {
        domain.table.remove(start, end)
        return outcome
      }
    }
    this.mappings++
    this.counts.maps++
    for (let i = 0; i < endpoints.length; i++) (endpoints[i] as Endpoint).space.changed(start, end)
    return Outcome.ok
  }

  /**
   * Removes all mappings in [start, end]; `range` if one of them reaches out of it, and then none is removed. In one go
   * however many they are: a million take 50 to 250 ms, and took longer to make. `deviceError`: they are removed, and a
   * back end that could not do so reaches nothing at all.
   */
  unmap(domainId: number, start: number, end: number, done: Done): void {
    const domain = this.domains.get(domainId)
    if (domain === undefined) {
      done(Outcome.noEntry)
      return
    }
    if (domain.bypass || end < start) {
      done(Outcome.invalid)
      return
    }
    const removed = domain.table.remove(start, end)
    if (removed <= 0) {
      if (removed === 0) this.counts.unmaps++
      done(removed < 0 ? Outcome.range : Outcome.ok)
      return
    }
    this.counts.unmaps++
    this.mappings -= removed
    this.counts.removed += removed
    const { endpoints } = domain
    // Nothing is mapped behind it, and what is larger may be no exact number.
    const last = Math.min(end, this.options.input.end)
    for (let i = 0; i < endpoints.length; i++) (endpoints[i] as Endpoint).space.invalidate(start, last)
    const outcome = domain.followers.length === 0 ? Outcome.ok : this.backends.unmap(domain, start, last)
    this.revocations.take(
      { cause: 'UNMAP', domain: domainId, start, end: last, mappings: removed, endpoints },
      outcome === Outcome.ok ? done : () => done(outcome),
    )
  }

  /** Detaches all endpoints, and waits also for what earlier requests took away. `bypass` stays as it is. */
  reset(done: () => void): void {
    let pending = 1
    const step = () => {
      pending--
      if (pending === 0) done()
    }
    const endpoints = [...this.endpoints.values()]
    for (const endpoint of endpoints) {
      if (endpoint.domain === undefined) continue
      pending++
      this.move(endpoint, undefined, 'reset', step)
    }
    // Nobody waits for the requests that were under way any more, but the memory is the driver's when this is over.
    this.revocations.settle(endpoints, step)
  }

  /** A fault as a device would cause it, for tests of drivers. */
  injectFault(fault: Omit<Fault, 'name'>): void {
    const endpoint = this.endpoints.get(fault.endpoint)
    if (endpoint === undefined) throw new BadInput(`the IOMMU has no endpoint ${hex(fault.endpoint)}`)
    this.refuse(endpoint, { ...fault, name: endpoint.name })
  }

  /** Whether a mapping more may be too many for the domain, or for all: else only a back end can have refused one. */
  isFull(domainId: number): boolean {
    const { limits } = this.options
    const domain = this.domains.get(domainId)
    if (this.mappings >= limits.total) return true
    return domain !== undefined && (domain.mappingCount >= limits.domain || domain.table.isFull)
  }

  /** A fault that the host reported: false when there is no such endpoint. Nobody else counts it. */
  reportHostFault(endpointId: number, { access, address, detail }: HostFault): boolean {
    const endpoint = this.endpoints.get(endpointId)
    if (endpoint === undefined) return false
    const reason = endpoint.reasonFor(address, access)
    const words = detail === undefined ? {} : { detail }
    const { name } = endpoint
    this.refuse(endpoint, { endpoint: endpointId, name, reason, access, address, source: 'host', ...words })
    return true
  }

  state(): IommuState {
    const { granule, input, domains } = this.options
    return {
      granule,
      input,
      domainRange: domains,
      bypass: this.bypasses,
      endpoints: [...this.endpoints.values()].map(endpoint => endpoint.state()),
      domains: [...this.domains.values()].map(domain => domain.state()),
      counters: this.counters(),
    }
  }

  private refuseAttach(
    endpoint: Endpoint | undefined,
    domainId: number,
    present: Domain | undefined,
    bypass: boolean,
  ): Outcome {
    const { domains } = this.options
    if (endpoint === undefined) return Outcome.noEntry
    if (domainId < domains.start || domainId > domains.end) return Outcome.range
    // VIRTIO 1.2 §5.13.6.3.2: the flag has to be consistent with a domain that exists.
    if (present !== undefined && present.bypass !== bypass) return Outcome.invalid
    if (present === undefined) return Outcome.ok
    const isUsable = endpoint.reserved.every(({ start, end }) => !present.table.search.overlaps(start, end))
    return isUsable ? Outcome.ok : Outcome.unsupported
  }

  private counters(): IommuCounters {
    const bytes = [...this.domains.values()].reduce((sum, domain) => sum + domain.mappedBytes, 0)
    const { waits } = this.revocations
    const own = {
      ...this.counts,
      waits,
      mappings: this.mappings,
      pages: bytes / PAGE_SIZE,
      tableBytes: this.nodes.bytes,
    }
    return { ...own, ...this.backends.calls() }
  }

  /** Attaches an endpoint to a domain, where its back end is already, or to none. */
  private move(endpoint: Endpoint, domain: Domain | undefined, cause: Loss['cause'], done: Done): void {
    const { space, domain: old } = endpoint
    const before = space.treatment
    // While the mappings of the domain before are still there.
    if (domain === undefined) this.backends.detach(endpoint, this.bypasses)
    old?.remove(endpoint)
    const mappings = old !== undefined && old.endpoints.length === 0 ? this.destroy(old) : 0
    domain?.add(endpoint)
    endpoint.settle(domain, this.bypasses)
    space.invalidate(0, LAST)
    if (before === 'block' || (before === 'bypass' && space.treatment === 'bypass')) done(Outcome.ok)
    else this.revocations.take({ cause, domain: old?.id, start: 0, end: LAST, mappings, endpoints: [endpoint] }, done)
  }

  /** A domain without endpoints; undefined if there are too many. */
  private create(id: number, bypass: boolean): Domain | undefined {
    const directory = this.nodes.takeDirectory()
    if (directory === undefined) return undefined
    const domain = new Domain(id, bypass, new MappingTable(this.nodes, directory))
    this.domains.set(id, domain)
    return domain
  }

  /** VIRTIO 1.2 §5.13.6.4: a domain ceases to exist after all endpoints were detached; returns how many mappings went. */
  private destroy(domain: Domain): number {
    const { mappingCount } = domain
    this.domains.delete(domain.id)
    domain.table.clear()
    this.nodes.releaseDirectory(domain.table.directory)
    this.mappings -= mappingCount
    this.counts.removed += mappingCount
    return mappingCount
  }

  private refuse(endpoint: Endpoint, fault: Fault): void {
    endpoint.faults++
    this.counts.faults++
    this.listener?.(faultEvent(fault, endpoint.domain?.id))
    this.onFault(fault)
  }
}

/** The IOMMU at one moment, as plain data: for `bulkhead iommu`, its JSON output and tests. Ranges are inclusive. */
import type { BackendState } from './endpoint-backend.ts'
import type { ReservedRegion } from './reserved-region.ts'

export interface EndpointState {
  readonly id: number
  readonly name: string
  /** Domain that it is attached to. */
  readonly domain: number | null
  /** How its accesses are treated: translated, let through unchanged, or refused. Of hardware: as it does it. */
  readonly treatment: 'translate' | 'bypass' | 'block'
  readonly reserved: readonly ReservedRegion[]
  readonly faults: number
  /** Hardware that translates for it, perhaps for others too: the same name is the same back end. */
  readonly backend?: BackendState
}

export interface DomainState {
  readonly id: number
  readonly bypass: boolean
  readonly endpoints: readonly number[]
  readonly mappings: number
  /** Bytes that are mapped. */
  readonly bytes: number
}

export interface MappingState {
  readonly start: number
  readonly end: number
  readonly phys: number
  /** Of `MapFlag`. */
  readonly flags: number
}

/** Since the machine's start. */
export interface IommuCounters {
  readonly attaches: number
  readonly detaches: number
  readonly maps: number
  readonly unmaps: number
  /** Mappings that UNMAP, DETACH and resets removed. */
  readonly removed: number
  readonly faults: number
  /** Requests that had to wait for a device. */
  readonly waits: number
  /** Mappings now, and what they come to in 4 KiB pages. */
  readonly mappings: number
  readonly pages: number
  /** Bytes of the mapping table in use. */
  readonly tableBytes: number
  /** Calls to the host of all back ends; absent: there are none. */
  readonly mapCalls?: number
  readonly unmapCalls?: number
}

export interface IommuState {
  readonly granule: number
  readonly input: { readonly start: number; readonly end: number }
  readonly domainRange: { readonly start: number; readonly end: number }
  /** What endpoints in no domain do. */
  readonly bypass: boolean
  readonly endpoints: readonly EndpointState[]
  readonly domains: readonly DomainState[]
  readonly counters: IommuCounters
}

/**
 * What follows endpoints' translations outside this program: hardware that translates for itself, such as a VFIO
 * container. The IOMMU tells it of every change, and a change that it refuses does not happen.
 *
 * One back end may stand for several endpoints (devices of one host group), which then translate alike or not at all.
 */
import type { Outcome } from './outcome.ts'
import type { MappingState } from './state.ts'

/** What accesses are to meet from now on: nothing, all of memory at its own addresses, or these mappings and no others. */
export type BackendTarget =
  | { readonly treatment: 'block' }
  | { readonly treatment: 'bypass' }
  | {
      readonly treatment: 'translate'
      /** Those that the domain has whenever they are gone through, by rising address: nobody has to keep a copy. */
      readonly mappings: Iterable<MappingState>
    }

/** See above. Calls are synchronous: when one returns, the hardware does as it says. */
export interface EndpointBackend {
  /** For messages, such as "group 7". */
  readonly name: string
  /**
   * Takes everything away that was there, and puts `target` in its place. When it fails with anything but `ok`, what was
   * there is there again, or if even that cannot be had, nothing (`treatment` says so). Until it returns, the domain whose
   * mappings were there has them, to be gone through once more. `block` leaves nothing, whatever is returned.
   */
  move(target: BackendTarget): Outcome
  /** What accesses meet now. */
  readonly treatment: BackendTarget['treatment']
  /** A mapping more; `flags` are of `MapFlag`. When it fails, nothing has changed. */
  map(start: number, end: number, phys: number, flags: number): Outcome
  /**
   * Takes away every mapping that lies in [start, end]; none reaches out of it. `deviceError`: the host refused, and
   * after that nothing is mapped at all (`treatment` is `block`), so that no access gets through by what was to go.
   */
  unmap(start: number, end: number): Outcome
  /** What the host said to the call that failed last, for people: "VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)". */
  readonly error?: string | undefined
  state(): BackendState
}

/** For `bulkhead iommu stat` and tests. */
export interface BackendState {
  readonly name: string
  readonly treatment: BackendTarget['treatment']
  /** Mappings that the host holds now, and the most that it takes; null: it names no limit. */
  readonly mappings: number
  readonly limit: number | null
  /** Bytes of guest memory that are pinned: each mapping counts. */
  readonly pinnedBytes: number
  /** Calls to the host since the start. */
  readonly mapCalls: number
  readonly unmapCalls: number
}

/** A requester that the IOMMU knows: one device's DMA, or that of several behind a conventional bridge. */
import type { Domain } from './domain.ts'
import type { EndpointBackend } from './endpoint-backend.ts'
import { EndpointSpace, type EndpointSpaceOptions } from './endpoint-space.ts'
import { type Fault, FaultReason } from './fault.ts'
import type { ReservedRegion } from './reserved-region.ts'
import { ReservedRegions } from './reserved-regions.ts'
import type { EndpointState } from './state.ts'

export interface EndpointOptions {
  /** Its requester ID on PCI. */
  readonly id: number
  /** For messages, such as "disk0". */
  readonly name: string
  /** They never overlap, and at most one is for MSIs (VIRTIO 1.2 §5.13.6.8.1). */
  readonly reserved: readonly ReservedRegion[]
  /** Hardware that translates for it; absent: only what this program emulates. */
  readonly backend?: EndpointBackend
}

/** See above. Made by `Iommu.addEndpoint`. */
export class Endpoint implements EndpointOptions {
  readonly id: number
  readonly name: string
  readonly reserved: readonly ReservedRegion[]
  readonly backend?: EndpointBackend
  /** The only way to memory of the devices that it stands for. */
  readonly space: EndpointSpace
  /** Accesses that were refused; the IOMMU counts. */
  faults = 0
  private readonly regions: ReservedRegions
  private attachedTo: Domain | undefined

  constructor({ id, name, reserved, backend }: EndpointOptions, space: Omit<EndpointSpaceOptions, 'reserved'>) {
    this.id = id
    this.name = name
    this.reserved = reserved
    if (backend !== undefined) this.backend = backend
    this.regions = new ReservedRegions(reserved)
    this.space = new EndpointSpace({ ...space, reserved: this.regions })
  }

  /** Undefined: attached to none. */
  get domain(): Domain | undefined {
    return this.attachedTo
  }

  /**
   * For the IOMMU, at the start and after each change: where the endpoint is attached now, and whether it would bypass
   * the IOMMU if it is not.
   */
  settle(domain: Domain | undefined, bypass: boolean): void {
    this.attachedTo = domain
    if (domain === undefined) this.space.treat(bypass ? 'bypass' : 'block', undefined)
    else if (domain.bypass) this.space.treat('bypass', undefined)
    else this.space.treat('translate', domain.table)
  }

  /** Why hardware refuses an access to `address`, as far as this program's mappings tell. */
  reasonFor(address: number, access: number): Fault['reason'] {
    const { domain } = this
    if (this.isReserved(address, address)) return FaultReason.mapping
    if (this.space.treatment === 'block') return FaultReason.domain
    if (domain === undefined || domain.bypass) return FaultReason.unknown
    const { lookup } = domain.table
    const isMapped = lookup.find(address) && (lookup.bits & access) === access
    return isMapped ? FaultReason.unknown : FaultReason.mapping
  }

  /** Whether part of [start, end] is reserved. */
  isReserved(start: number, end: number): boolean {
    return this.regions.first(start, end) !== undefined
  }

  state(): EndpointState {
    const backend = this.backend?.state()
    return {
      id: this.id,
      name: this.name,
      domain: this.attachedTo?.id ?? null,
      treatment: backend?.treatment ?? this.space.treatment,
      reserved: this.reserved,
      faults: this.faults,
      ...(backend === undefined ? {} : { backend }),
    }
  }
}

/**
 * Which requesters the IOMMU is for: the one description that the ACPI VIOT, the device tree and the endpoints that
 * PROBE knows are made from. Ids of endpoints on PCI are requester IDs (bus << 8 | device << 3 | function).
 */
import type { ReservedRegion } from './reserved-region.ts'

/** One endpoint. */
export interface TopologyEndpoint {
  readonly id: number
  /** Names of the devices that it stands for, joined by "+": several behind a conventional bridge share one. */
  readonly name: string
  readonly reserved: readonly ReservedRegion[]
  /** Of a device that is not on PCI: where its registers start. */
  readonly base?: number
}

/** See above. */
export interface IommuTopology {
  /** The IOMMU's own requester ID, which is never among the endpoints. */
  readonly iommu: number
  /** By rising id. */
  readonly endpoints: readonly TopologyEndpoint[]
}

/** Endpoints on PCI whose ids follow each other. */
export interface EndpointRange {
  readonly first: number
  readonly count: number
}

/**
 * The endpoints on PCI, and no other ids, in as few ranges as that takes.
 *
 * @example endpointRanges({ iommu: 0xf8, endpoints: [{ id: 8, ... }, { id: 9, ... }] }) // [{ first: 8, count: 2 }]
 */
export function endpointRanges({ endpoints }: IommuTopology): readonly EndpointRange[] {
  const ranges: EndpointRange[] = []
  for (const { id, base } of endpoints) {
    if (base !== undefined) continue
    const last = ranges.at(-1)
    if (last !== undefined && id === last.first + last.count)
      ranges[ranges.length - 1] = { first: last.first, count: last.count + 1 }
    else ranges.push({ first: id, count: 1 })
  }
  return ranges
}

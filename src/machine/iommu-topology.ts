/**
 * Which device gets which requester ID, from the configuration alone: the description of the IOMMU's endpoints, made
 * before there are devices.
 *
 * Behind a bridge to a conventional bus all DMA has one ID, and this endpoint is the only one of them that translates
 * anything. The others are there for the guest, which asks for every function on the way: Linux wants the bridge to be
 * an endpoint of its own to put it and the devices below into one group, and attaches each device by its own ID.
 */
import type { Range } from '../iommu/iommu.ts'
import type { ReservedRegion } from '../iommu/reserved-region.ts'
import type { IommuTopology, TopologyEndpoint } from '../iommu/topology.ts'
import { deviceNames, isExpress, outsideIommu } from './device-names.ts'
import { type GroupedDevice, hostGroups } from './host-groups.ts'
import type { IommuConfig } from './iommu-config.ts'
import { IOMMU_DEVICE, planPlaces, requesterIds, type SlotOptions } from './slots.ts'

export interface TopologyOptions extends SlotOptions {
  readonly iommu: Pick<IommuConfig, 'endpoints' | 'msi' | 'reserved'>
  /** Where writes are message-signalled interrupts. */
  readonly doorbells: readonly Range[]
}

/** See above. */
export interface MachineTopology {
  readonly topology: IommuTopology
  /** For each device: the endpoint that its DMA comes from; undefined when it is not behind the IOMMU. */
  readonly endpointOf: readonly (number | undefined)[]
}

/** Describes the IOMMU of a machine with `devices`, in the order of their slots; throws `BadInput`. */
export function machineTopology(devices: readonly GroupedDevice[], options: TopologyOptions): MachineTopology {
  const { iommu, doorbells } = options
  const names = deviceNames(devices)
  const isBehind = devices.map(
    ({ kind }, index) =>
      (iommu.endpoints === 'all' || iommu.endpoints.includes(names[index] as string)) &&
      outsideIommu(kind) === undefined,
  )
  const places = planPlaces(
    devices.length,
    options,
    isBehind,
    devices.map(({ kind }) => isExpress(kind)),
    hostGroups(devices),
  )
  const ids = requesterIds(places, options)

  const below = names.filter((_, index) => places[index] === 'bridge')
  const groupOf = (index: number) => (places[index] === 'bridge' ? below : [names[index] as string])
  const endpoints: TopologyEndpoint[] = []
  if (ids.bridge !== undefined && below.length > 0)
    endpoints.push({ id: ids.bridge.own, name: 'bridge', reserved: reservedFor(below, iommu, doorbells) })
  for (const [index, id] of ids.devices.entries()) {
    if (isBehind[index] !== true) continue
    const group = groupOf(index)
    // The first device below the bridge has the ID that all DMA from there has.
    const name = id === ids.bridge?.alias ? group.join('+') : (names[index] as string)
    endpoints.push({ id, name, reserved: reservedFor(group, iommu, doorbells) })
  }
  const dmaId = (index: number) => (places[index] === 'bridge' ? ids.bridge?.alias : ids.devices[index])
  return {
    topology: { iommu: IOMMU_DEVICE << 3, endpoints: endpoints.sort((a, b) => a.id - b.id) },
    endpointOf: devices.map((_, index) => (isBehind[index] === true ? dmaId(index) : undefined)),
  }
}

/** Regions of any device of the group, each one once. */
function reservedFor(
  group: readonly string[],
  { reserved = [], msi }: TopologyOptions['iommu'],
  doorbells: readonly Range[],
): readonly ReservedRegion[] {
  const regions: ReservedRegion[] = []
  for (const { device, start, end } of reserved) {
    const isNew = !regions.some(region => region.start === start && region.end === end)
    if (isNew && (device === undefined || group.includes(device))) regions.push({ kind: 'reserved', start, end })
  }
  if (msi !== 'translate') for (const { start, end } of doorbells) regions.push({ kind: 'msi', start, end })
  return regions.sort((a, b) => a.start - b.start)
}

/**
 * Where a machine's devices are plugged in, from its configuration alone: on the root bus one after the other, each
 * behind a root port of its own, or together behind one bridge to a conventional bus. The IOMMU has the last device
 * number of the root bus.
 */
import type { Pci } from '../arch/devices.ts'
import { BadInput } from '../base/errors.ts'
import type { FunctionPosition } from '../pci/root-complex.ts'

/** The IOMMU is at 00:1f.0. */
export const IOMMU_DEVICE = 31
/** On a bus; the root bus has the host bridge as its first. */
const BUS_DEVICES = 32
const FIRST_DEVICE = 1

/** Where one device is. */
export type Place = 'root' | 'port' | 'bridge'

/** How devices are attached; see MachineConfig. */
export interface SlotOptions {
  readonly rootPorts: boolean
  readonly pciBridge: boolean
}

/**
 * The place of each device. `isBehind` says of each device whether it is behind the IOMMU; absent: there is none. With
 * one, devices that it does not translate for stay out from behind the bridge, where it could not tell them from others;
 * so do those that are PCI Express to their drivers (`isExpress`), as that bus is none.
 */
export function planPlaces(
  count: number,
  options: SlotOptions,
  isBehind?: readonly boolean[],
  isExpress: readonly boolean[] = [],
): readonly Place[] {
  if (options.rootPorts && options.pciBridge)
    throw new BadInput('devices are behind root ports or behind a bridge, not both: leave one of them out')
  const place = (index: number): Place => {
    if (options.rootPorts) return 'port'
    return options.pciBridge && isBehind?.[index] !== false && isExpress[index] !== true ? 'bridge' : 'root'
  }
  const places = Array.from({ length: count }, (_, index) => place(index))
  const below = places.filter(at => at === 'bridge').length
  const most = (isBehind === undefined ? BUS_DEVICES : IOMMU_DEVICE) - FIRST_DEVICE - (options.pciBridge ? 1 : 0)
  if (count - below > most || below > BUS_DEVICES) {
    const [kind, room] = count - below > most ? ['on the root bus', most] : ['behind a bridge', BUS_DEVICES]
    throw new BadInput(`this machine has room for ${room} PCI devices ${kind}, not ${Math.max(count - below, below)}`)
  }
  return places
}

/** PCI buses of the machine: the root bus, and one below each root port or bridge. */
export function busCount(places: readonly Place[], { pciBridge }: SlotOptions): number {
  return 1 + places.filter(place => place === 'port').length + (pciBridge ? 1 : 0)
}

/** Requester IDs as they are when the guest starts. */
export interface RequesterIds {
  /** Of each device. */
  readonly devices: readonly number[]
  /** Of the bridge, and the one that requests from behind it have: PCI Express to PCI Bridge 1.0 §2.3. */
  readonly bridge?: { readonly own: number; readonly alias: number }
}

/** The IDs that pci/firmware.ts will give: buses are numbered in the order of the ports and bridges. */
export function requesterIds(places: readonly Place[], { pciBridge }: SlotOptions): RequesterIds {
  let device = FIRST_DEVICE
  let bus = 0
  const bridge = pciBridge ? { own: device++ << 3, alias: ++bus << 8 } : undefined
  let below = 0
  const devices = places.map(place => {
    if (place === 'bridge') return (bridge?.alias ?? 0) | (below++ << 3)
    return place === 'port' ? ++bus << 8 : device++ << 3
  })
  return bridge === undefined ? { devices } : { devices, bridge }
}

/**
 * Makes the bridge, and then gives each device's position in its turn, with a port where it has one.
 *
 * @example const next = positions(pci, places, options); for (const device of devices) pci.add(device, next())
 */
export function positions(pci: Pci, places: readonly Place[], { pciBridge }: SlotOptions): () => FunctionPosition {
  const bridge = pciBridge ? pci.addBridge() : undefined
  let index = 0
  return () => {
    const place = places[index++]
    if (place === 'port') return { port: pci.addPort() }
    return place === 'bridge' && bridge !== undefined ? { port: bridge } : {}
  }
}

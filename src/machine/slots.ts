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

/** Of a device. */
const FUNCTIONS = 8

/** Where one device is. A number: it is a further function of the device with that index. */
export type Place = 'root' | 'port' | 'bridge' | number

/** How devices are attached; see MachineConfig. */
export interface SlotOptions {
  readonly rootPorts: boolean
  readonly pciBridge: boolean
}

/**
 * The place of each device. `isBehind` says of each device whether it is behind the IOMMU; absent: there is none. With
 * one, devices that it does not translate for stay out from behind the bridge, where it could not tell them from others;
 * so do those that are PCI Express to their drivers (`isExpress`), as that bus is none.
 *
 * `groups` are numbers of devices that the host cannot tell from each other: they become functions of one device, which
 * guests take for one group too (Linux does for functions without access control services, PCI Express 5.0 §7.7.8).
 */
export function planPlaces(
  count: number,
  options: SlotOptions,
  isBehind?: readonly boolean[],
  isExpress: readonly boolean[] = [],
  groups: readonly (number | undefined)[] = [],
): readonly Place[] {
  if (options.rootPorts && options.pciBridge)
    throw new BadInput('devices are behind root ports or behind a bridge, not both: leave one of them out')
  const place = (index: number): Place => {
    const first = groups[index] === undefined ? index : groups.indexOf(groups[index])
    if (first !== index) return first
    if (options.rootPorts) return 'port'
    return options.pciBridge && isBehind?.[index] !== false && isExpress[index] !== true ? 'bridge' : 'root'
  }
  const places = Array.from({ length: count }, (_, index) => place(index))
  for (const first of new Set(places.filter(at => typeof at === 'number')))
    if (places.filter(at => at === first).length >= FUNCTIONS)
      throw new BadInput(`more than ${FUNCTIONS} devices are of host group ${groups[first]}: leave some out`)
  const below = places.filter(at => at === 'bridge').length
  const own = places.filter(at => typeof at !== 'number').length
  const most = (isBehind === undefined ? BUS_DEVICES : IOMMU_DEVICE) - FIRST_DEVICE - (options.pciBridge ? 1 : 0)
  if (own - below > most || below > BUS_DEVICES) {
    const [kind, room] = own - below > most ? ['on the root bus', most] : ['behind a bridge', BUS_DEVICES]
    throw new BadInput(`this machine has room for ${room} PCI devices ${kind}, not ${Math.max(own - below, below)}`)
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
  const ids: number[] = []
  const devices = places.map((place, index) => {
    const id = typeof place === 'number' ? (ids[place] as number) + functionOf(places, index) : next(place)
    ids.push(id)
    return id
  })
  return bridge === undefined ? { devices } : { devices, bridge }

  function next(place: Exclude<Place, number>): number {
    if (place === 'bridge') return (bridge?.alias ?? 0) | (below++ << 3)
    return place === 'port' ? ++bus << 8 : device++ << 3
  }
}

/** The function number of a device that is a further function of another one. */
function functionOf(places: readonly Place[], index: number): number {
  return places.slice(0, index + 1).filter(place => place === places[index]).length
}

/**
 * Makes the bridge, and then gives each device's position in its turn, with a port where it has one.
 *
 * @example const next = positions(pci, places, options); for (const device of devices) pci.add(device, next())
 */
export function positions(pci: Pci, places: readonly Place[], options: SlotOptions): () => FunctionPosition {
  const bridge = options.pciBridge ? pci.addBridge() : undefined
  const ids = requesterIds(places, options).devices
  const made: FunctionPosition[] = []
  const next = (index: number): FunctionPosition => {
    const place = places[index]
    if (typeof place === 'number') return { ...made[place], ...deviceOf(ids[index] as number) }
    if (place === 'port') return { port: pci.addPort() }
    return place === 'bridge' && bridge !== undefined ? { port: bridge } : {}
  }
  return () => {
    const position = next(made.length)
    made.push(position)
    return position
  }
}

function deviceOf(id: number): { readonly device: number; readonly function: number } {
  return { device: (id >> 3) & (BUS_DEVICES - 1), function: id & (FUNCTIONS - 1) }
}

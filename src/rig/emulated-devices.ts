/**
 * PCI devices of the emulated host that are there to be given away to a guest: `edu` (QEMU's device for exercises, with
 * DMA and MSI), an NVMe disk and a network card. Each has a slot of its own on the root bus, and with that an IOMMU group
 * of its own, unless it is made to join another. The first of each kind are at 00:10.0, 00:11.0 and 00:12.0, the next ones
 * three slots further on.
 *
 * An NVMe disk has no state that QEMU could save, so a machine with such devices boots.
 */
import { BadInput } from '../base/errors.ts'

/** The kinds, in the order of their first slots. */
export const DEVICE_KINDS = ['edu', 'nvme', 'e1000e'] as const
const FIRST_SLOT = 0x10
/** Slot 1f is the south bridge's. */
const MAX_PER_KIND = 5
const MAX_FUNCTIONS = 8

/** A device that L1 is given. */
export type EmulatedDevice =
  /** `joins`: a further function of the edu before it, which is in the same IOMMU group for that. */
  | { readonly kind: 'edu'; readonly joins?: boolean }
  | { readonly kind: 'nvme'; readonly path: string; readonly writable: boolean }
  /** `rom`: an image for its expansion ROM, which it has none of otherwise. */
  | { readonly kind: 'e1000e'; readonly rom?: string }

/** A device where it goes. */
export interface PlacedDevice {
  readonly device: EmulatedDevice
  /** "10.0": slot and function on bus 0. */
  readonly address: string
  /** Another one is in the same slot. */
  readonly isMultifunction: boolean
}

/** Gives each device its place; throws `BadInput` if there are too many of a kind, or in one slot. */
export function placeDevices(devices: readonly EmulatedDevice[]): readonly PlacedDevice[] {
  const used = new Map<string, number>()
  let lastEdu = { slot: 0, functions: 0 }
  const places = devices.map(device => {
    const { kind } = device
    if (kind === 'edu' && device.joins === true) {
      if (lastEdu.functions === 0) throw new BadInput('there is no edu device for another one to join')
      if (lastEdu.functions === MAX_FUNCTIONS) throw new BadInput(`a slot has at most ${MAX_FUNCTIONS} edu devices`)
      return { device, address: `${lastEdu.slot.toString(16)}.${lastEdu.functions++}` }
    }
    const before = used.get(kind) ?? 0
    if (before === MAX_PER_KIND) throw new BadInput(`the emulated host has at most ${MAX_PER_KIND} ${kind} devices`)
    used.set(kind, before + 1)
    const slot = FIRST_SLOT + DEVICE_KINDS.indexOf(kind) + before * DEVICE_KINDS.length
    if (kind === 'edu') lastEdu = { slot, functions: 1 }
    return { device, address: `${slot.toString(16)}.0` }
  })
  const inSlot = (slot: string) => places.filter(({ address }) => address.startsWith(slot)).length
  return places.map(place => ({ ...place, isMultifunction: inSlot(place.address.slice(0, 2)) > 1 }))
}

/** Addresses of the devices as L1 writes them, "0000:00:10.0". */
export function deviceAddresses(devices: readonly EmulatedDevice[]): readonly string[] {
  return placeDevices(devices).map(({ address }) => `0000:00:${address}`)
}

/** Whether there is a network with a card for a guest on it. */
export function haveNetworkCard(devices: readonly EmulatedDevice[]): boolean {
  return devices.some(({ kind }) => kind === 'e1000e')
}

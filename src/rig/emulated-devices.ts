/**
 * PCI devices of the emulated host that are there to be given away to a guest: `edu` (QEMU's device for exercises, with
 * DMA and MSI), an NVMe disk and a network card. Each has a slot of its own on the root bus, and with that an IOMMU group
 * of its own; the first of each kind are at 00:10.0, 00:11.0 and 00:12.0, the next ones three slots further on.
 *
 * An NVMe disk has no state that QEMU could save, so a machine with such devices boots.
 */
import { BadInput } from '../base/errors.ts'

/** The kinds, in the order of their first slots. */
export const DEVICE_KINDS = ['edu', 'nvme', 'e1000e'] as const
const FIRST_SLOT = 0x10
/** Slot 1f is the south bridge's. */
const MAX_PER_KIND = 5

/** A device that L1 is given. */
export type EmulatedDevice =
  | { readonly kind: 'edu' }
  | { readonly kind: 'nvme'; readonly path: string; readonly writable: boolean }
  /** `rom`: an image for its expansion ROM, which it has none of otherwise. */
  | { readonly kind: 'e1000e'; readonly rom?: string }

/** A device where it goes. */
export interface PlacedDevice {
  readonly device: EmulatedDevice
  /** "10.0": slot and function on bus 0. */
  readonly address: string
}

/** Gives each device its place; throws `BadInput` if there are too many of a kind. */
export function placeDevices(devices: readonly EmulatedDevice[]): readonly PlacedDevice[] {
  return devices.map((device, index) => {
    const before = devices.slice(0, index).filter(({ kind }) => kind === device.kind).length
    if (before === MAX_PER_KIND)
      throw new BadInput(`the emulated host has at most ${MAX_PER_KIND} ${device.kind} devices`)
    const slot = FIRST_SLOT + DEVICE_KINDS.indexOf(device.kind) + before * DEVICE_KINDS.length
    return { device, address: `${slot.toString(16)}.0` }
  })
}

/** Addresses of the devices as L1 writes them, "0000:00:10.0". */
export function deviceAddresses(devices: readonly EmulatedDevice[]): readonly string[] {
  return placeDevices(devices).map(({ address }) => `0000:00:${address}`)
}

/** Whether there is a network with a card for a guest on it. */
export function haveNetworkCard(devices: readonly EmulatedDevice[]): boolean {
  return devices.some(({ kind }) => kind === 'e1000e')
}

/**
 * A host device as VFIO shows it: regions, interrupts, reset. `OpenedDevice` (opened-device.ts) is the kernel's;
 * constants are in uapi.ts. linux/vfio.h.
 */
import type { Mapping } from '../host/mapping.ts'

/** A region: VFIO_PCI_BAR0_REGION_INDEX to BAR5, ROM, CONFIG. */
export interface VfioRegion {
  readonly index: number
  /** Bytes; 0: the device has no such region. */
  readonly size: number
  /** VFIO_REGION_INFO_FLAG_*. */
  readonly flags: number
  /** What of it can be mapped, by rising offset, in whole pages; the rest is only read and written. */
  readonly mappable: readonly { readonly offset: number; readonly size: number }[]
}

/** A kind of interrupt: VFIO_PCI_INTX_IRQ_INDEX, MSI, MSIX, ERR, REQ. */
export interface VfioIrq {
  readonly index: number
  /** 0: the device has none of this kind. */
  readonly count: number
  /** VFIO_IRQ_INFO_*. */
  readonly flags: number
}

/**
 * How a device was reset; `none`: the host has no way. `shared`: with its bus, and another device of the machine that is
 * there, too, and that the guest did not have at the time. While it has both, neither can be reset.
 */
export type ResetKind = 'function' | 'bus' | 'shared' | 'none'

/** See above. Calls throw `SysError`, except where it is said. */
export interface VfioDevice {
  /** Its address on the host, "0000:00:10.0". */
  readonly address: string
  /** By index; all of VFIO_PCI_NUM_REGIONS. */
  readonly regions: readonly VfioRegion[]
  /** By index; all of VFIO_PCI_NUM_IRQS. */
  readonly irqs: readonly VfioIrq[]
  /** Reads 1, 2, 4 or 8 bytes of a region. All ones where the device does not answer; never throws. */
  read(region: number, offset: number, size: number): number
  /** As `read`; a write that the device does not take is lost. */
  write(region: number, offset: number, size: number, value: number): void
  /** Reads many bytes (the ROM, configuration space); what cannot be read is all ones. */
  readBytes(region: number, offset: number, length: number): Uint8Array
  /** Maps part of a mappable area; the caller disposes of it. */
  map(region: number, offset: number, size: number): Mapping
  /**
   * Makes interrupts `start` and up of a kind signal eventfds; -1: nobody. The first call for a kind that is off enables
   * it with as many as are named; without VFIO_IRQ_INFO_NORESIZE more can be added while it is on.
   */
  setTriggers(irq: number, start: number, fds: readonly number[]): void
  /** Turns a kind of interrupt off. */
  disable(irq: number): void
  /** INTx: each signal of the eventfd unmasks it, which the host masks when it comes. */
  setUnmaskTrigger(irq: number, fd: number): void
  /** Unmasks INTx once. */
  unmask(irq: number): void
  /** As at power-on, as far as the host can: function level, else the bus if nothing on it is in use. */
  reset(): ResetKind
}

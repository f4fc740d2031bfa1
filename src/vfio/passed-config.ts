/**
 * Configuration space of a passed-through device: each bit is either the device's or ours. Ours are in `own`, as for an
 * emulated function; the rest is read from VFIO and written to it, which guards what could harm the host.
 */
import { ConfigSpace } from '../pci/config-space.ts'
import { CONFIG_SPACE_SIZE } from '../pci/registers.ts'
import type { VfioDevice } from './device.ts'
import { VFIO_PCI_CONFIG_REGION_INDEX } from './uapi.ts'

/** A byte on its way to the device. */
export type ByteFilter = (byte: number) => number

/** See above. `size` of an access is 1, 2 or 4 and `offset` is a multiple of it. */
export class PassedConfig {
  /** Values, writable bits and hooks of what is ours. */
  readonly own = new ConfigSpace()
  private readonly device: Pick<VfioDevice, 'regions' | 'read' | 'write'>
  /** Bits that are ours, byte by byte. */
  private readonly ours = new Uint8Array(CONFIG_SPACE_SIZE)
  private readonly filters = new Map<number, ByteFilter>()

  constructor(device: Pick<VfioDevice, 'regions' | 'read' | 'write'>) {
    this.device = device
    // A conventional device has no more than 256 bytes.
    this.ours.fill(0xff, device.regions[VFIO_PCI_CONFIG_REGION_INDEX]?.size ?? 0)
  }

  /** Takes `bits` of a register over, all of them if absent. */
  claim(offset: number, size: 1 | 2 | 4, bits = 0xffff_ffff): void {
    for (let i = 0; i < size; i++) this.ours[offset + i] = (this.ours[offset + i] as number) | (bits >>> (8 * i))
  }

  /** `claim`, and defines what is there. */
  define(offset: number, size: 1 | 2 | 4, value: number, writable = 0): void {
    this.claim(offset, size)
    this.own.define(offset, size, value, writable)
  }

  /** Takes a range over: it reads as `own` has it, which is zero where nothing is defined. */
  claimRange(start: number, size: number): void {
    this.ours.fill(0xff, start, start + size)
  }

  /** Changes a byte at `offset` before the device gets it. `own`'s hooks are called after the device has it. */
  filter(offset: number, filter: ByteFilter): void {
    this.filters.set(offset, filter)
  }

  read(offset: number, size: number): number {
    const ours = this.oursAt(offset, size)
    if (ours === 0) return this.device.read(VFIO_PCI_CONFIG_REGION_INDEX, offset, size)
    const own = this.own.read(offset, size)
    if (ours === ones(size)) return own
    return ((this.device.read(VFIO_PCI_CONFIG_REGION_INDEX, offset, size) & ~ours) | (own & ours)) >>> 0
  }

  write(offset: number, size: number, value: number): void {
    this.pass(offset, size, value)
    this.own.write(offset, size, value)
  }

  /** Hands on the bytes that are not wholly ours, in pieces as large as can be. */
  private pass(offset: number, size: number, value: number): void {
    let whole = 0
    for (let i = 0; i < size; i++) if (this.ours[offset + i] === 0xff) whole++
    if (whole === size) return
    if (whole > 0) {
      const half = size / 2
      this.pass(offset, half, value & ones(half))
      this.pass(offset + half, half, (value >>> (8 * half)) & ones(half))
      return
    }
    let filtered = value
    for (let i = 0; i < size; i++) {
      const filter = this.filters.get(offset + i)
      if (filter === undefined) continue
      const shift = 8 * i
      filtered = (filtered & ~(0xff << shift)) | ((filter((value >>> shift) & 0xff) & 0xff) << shift)
    }
    this.device.write(VFIO_PCI_CONFIG_REGION_INDEX, offset, size, filtered >>> 0)
  }

  private oursAt(offset: number, size: number): number {
    let bits = 0
    for (let i = 0; i < size; i++) bits |= (this.ours[offset + i] as number) << (8 * i)
    return bits >>> 0
  }
}

function ones(size: number): number {
  return size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1
}

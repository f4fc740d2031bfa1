/** Memory as a guest driver uses it: little-endian values and bytes at (I/O virtual) addresses. */
import type { DmaSpace } from '../../src/memory/dma-space.ts'
import { Extents } from '../../src/memory/extents.ts'

/** Values at addresses of `space`; throws where there is no memory. */
export class DriverMemory {
  private readonly extents: Extents

  constructor(readonly space: DmaSpace) {
    this.extents = new Extents(space.memory)
  }

  getU16(address: number): number {
    return this.at(address, 2).getUint16(0)
  }

  getU32(address: number): number {
    return this.at(address, 4).getUint32(0)
  }

  setU16(address: number, value: number): void {
    this.write(address, new Uint8Array(Uint16Array.of(value).buffer))
  }

  setU32(address: number, value: number): void {
    this.write(address, new Uint8Array(Uint32Array.of(value).buffer))
  }

  setU64(address: number, value: number): void {
    this.setU32(address, value % 2 ** 32)
    this.setU32(address + 4, Math.floor(value / 2 ** 32))
  }

  read(address: number, size: number): Uint8Array {
    const bytes = new Uint8Array(size)
    this.at(address, size).read(0, bytes)
    return bytes
  }

  write(address: number, bytes: Uint8Array): void {
    this.at(address, bytes.length).write(0, bytes)
  }

  private at(address: number, size: number): Extents {
    this.extents.clear()
    // No access rights asked for: the driver is not behind the device's IOMMU.
    if (!this.space.translate(address, size, 0, this.extents)) throw new Error(`0x${address.toString(16)} is no memory`)
    return this.extents
  }
}

/**
 * A request to the IOMMU device as it was read: once, so that what is checked is what is used. VIRTIO 1.2 §5.13.6.
 *
 * Framing does not matter (§2.7.4.1): the fields lie at fixed offsets of the device-readable bytes, and the tail at a
 * fixed offset of the device-writable ones.
 */
import { getU64 } from '../base/u64.ts'
import { READABLE_SIZES, TAIL_SIZE, VIRTIO_IOMMU_T_PROBE } from './iommu-protocol.ts'
import type { Chain } from './queue.ts'

/** The longest request is PROBE with 72; of an oversized one, some bytes behind it are kept for people. */
const KEPT_BYTES = 76

// struct virtio_iommu_req_{attach,detach,map,unmap,probe}: offsets behind the head.
const DOMAIN = 4
const PROBE_ENDPOINT = 4
const ENDPOINT = 8
const ATTACH_FLAGS = 12
const ATTACH_RESERVED = 16
const DETACH_RESERVED = 12
export const VIRT_START = 8
export const VIRT_END = 16
export const PHYS_START = 24
const MAP_FLAGS = 32
const UNMAP_RESERVED = 24
const PROBE_RESERVED = 8
const PROBE_RESERVED_SIZE = 64

/** See above; reused. Fields that the request does not have, or that were not sent, read as something or other. */
export class IommuRequest {
  /** From 1 on. */
  seq = 0
  /** Of the device-readable part, all of it. */
  size = 0
  /** Bytes of the device-writable part. */
  room = 0
  private readonly kept = new Uint8Array(KEPT_BYTES)
  private readonly view = new DataView(this.kept.buffer)

  read({ readable, writable }: Chain): void {
    this.seq++
    this.size = readable.size
    this.room = writable.size
    const count = readable.read(0, this.kept)
    // What the request before left is not part of this one.
    if (count < KEPT_BYTES) this.kept.fill(0, count)
  }

  get type(): number {
    return this.kept[0] as number
  }

  /** Bytes that a request of this type has; undefined when there is no such type. */
  get expectedSize(): number | undefined {
    return READABLE_SIZES[this.type]
  }

  /** Bytes in front of the tail, given the size of PROBE's properties. */
  tailOffset(probeSize: number): number {
    return this.type === VIRTIO_IOMMU_T_PROBE ? probeSize : 0
  }

  get domain(): number {
    return this.view.getUint32(DOMAIN, true)
  }

  get endpoint(): number {
    return this.view.getUint32(this.type === VIRTIO_IOMMU_T_PROBE ? PROBE_ENDPOINT : ENDPOINT, true)
  }

  get attachFlags(): number {
    return this.view.getUint32(ATTACH_FLAGS, true)
  }

  get mapFlags(): number {
    return this.view.getUint32(MAP_FLAGS, true)
  }

  /** Above 2^53 it is rounded, but never back under it; so are the next two. */
  get start(): number {
    return getU64(this.view, VIRT_START)
  }

  /** Inclusive. */
  get end(): number {
    return getU64(this.view, VIRT_END)
  }

  get phys(): number {
    return getU64(this.view, PHYS_START)
  }

  /** The lower half of the u64 at `offset`, which alignment can be seen from. */
  low(offset: number): number {
    return this.view.getUint32(offset, true)
  }

  /** Whether virt_end is greater than virt_start, in all their bits. */
  get isOrdered(): boolean {
    const { view } = this
    const start = view.getUint32(VIRT_START + 4, true)
    const end = view.getUint32(VIRT_END + 4, true)
    return end === start ? this.low(VIRT_END) > this.low(VIRT_START) : end > start
  }

  get hasHeadReserved(): boolean {
    return (this.view.getUint32(0, true) & 0xffff_ff00) !== 0
  }

  get hasAttachReserved(): boolean {
    return this.low(ATTACH_RESERVED) !== 0
  }

  get hasDetachReserved(): boolean {
    return this.low(DETACH_RESERVED) !== 0 || this.low(DETACH_RESERVED + 4) !== 0
  }

  get hasUnmapReserved(): boolean {
    return this.low(UNMAP_RESERVED) !== 0
  }

  get hasProbeReserved(): boolean {
    for (let i = 0; i < PROBE_RESERVED_SIZE; i += 4) if (this.low(PROBE_RESERVED + i) !== 0) return true
    return false
  }

  /** The u64 at `offset` in hexadecimal, exactly. */
  hex(offset: number): string {
    return `0x${this.view.getBigUint64(offset, true).toString(16)}`
  }

  /** The device-readable bytes in hexadecimal, the first 76 of them. */
  get bytes(): string {
    return Buffer.from(this.kept.buffer, 0, Math.min(this.size, KEPT_BYTES)).toString('hex')
  }

  /** Whether a tail fits in, wherever its place is. */
  get hasTail(): boolean {
    return this.room >= TAIL_SIZE
  }
}

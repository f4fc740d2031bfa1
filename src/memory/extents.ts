/**
 * A list of guest-physical ranges: what a device's buffer comes to after translation. Every extent lies in RAM and in
 * one window of it, so each has one host address. Reused from request to request; nothing is allocated on the way.
 *
 * Requests have few extents, so finding an offset is a walk from the first one.
 */
import { assert } from '../base/errors.ts'
import type { GuestMemory } from './guest-memory.ts'

const INITIAL_CAPACITY = 32
/** struct iovec: base and length, 8 bytes each. */
export const IOVEC_SIZE = 16
const TWO_TO_32 = 0x1_0000_0000
/** Of lists whose owner knows how large a range it has translated: no limit. */
const NO_LIMIT = 0x7fff_ffff
/** Up to here copying byte by byte is faster than `set`, which needs a view object (80 ns). */
const SMALL_COPY = 64

/** Ranges in the order of the buffer's bytes. */
export class Extents {
  /** How many extents there are. */
  count = 0
  /** Bytes in all of them. */
  size = 0
  /**
   * Mappings (pages, or what is mapped as one) that translations into this list may still look up. An IOMMU takes one
   * for each that it looks up; when there are none left it appends nothing, and that is no fault.
   */
  budget: number
  private starts = new Float64Array(INITIAL_CAPACITY)
  private lengths = new Float64Array(INITIAL_CAPACITY)
  /** Where `seek` went: an extent, an offset in it, and what it has from there on. */
  private index = 0
  private skip = 0
  private room = 0

  /** `limit`: mappings that all translations between one `clear` and the next may look up. */
  constructor(
    readonly memory: GuestMemory,
    private readonly limit: number = NO_LIMIT,
  ) {
    this.budget = limit
  }

  /** Guest-physical address of extent `index`. */
  start(index: number): number {
    return this.starts[index] as number
  }

  /** Bytes of extent `index`. */
  length(index: number): number {
    return this.lengths[index] as number
  }

  clear(): void {
    this.count = 0
    this.size = 0
    this.budget = this.limit
  }

  /** Back to an earlier `count`, as `translate` does when a later part faults. */
  truncate(count: number): void {
    while (this.count > count) {
      this.count--
      this.size -= this.lengths[this.count] as number
    }
  }

  /** Appends a range; the caller has checked that it lies in one window of RAM. */
  add(start: number, length: number): void {
    const { count } = this
    if (count === this.starts.length) this.grow()
    this.starts[count] = start
    this.lengths[count] = length
    this.count = count + 1
    this.size += length
  }

  /** The little-endian u32 at `offset` of the buffer; `size` must reach that far. */
  getUint32(offset: number): number {
    if (!this.seek(offset) || this.room < 4) return this.gather(offset, 4)
    const address = (this.starts[this.index] as number) + this.skip
    const { memory } = this
    return memory.viewAt(address).getUint32(memory.offsetAt(address), true)
  }

  /** The little-endian u16 at `offset`. */
  getUint16(offset: number): number {
    if (!this.seek(offset) || this.room < 2) return this.gather(offset, 2)
    const address = (this.starts[this.index] as number) + this.skip
    const { memory } = this
    return memory.viewAt(address).getUint16(memory.offsetAt(address), true)
  }

  /** The byte at `offset`. */
  getUint8(offset: number): number {
    return this.gather(offset, 1)
  }

  /** The little-endian u64 at `offset` as a number: above 2^53 it rounds, but never back under it. */
  getU64(offset: number): number {
    const low = this.getUint32(offset)
    return this.getUint32(offset + 4) * TWO_TO_32 + low
  }

  /** Writes a byte at `offset`, a status for example; false when the buffer ends before. */
  setUint8(offset: number, value: number): boolean {
    if (!this.seek(offset)) return false
    const address = (this.starts[this.index] as number) + this.skip
    const { memory } = this
    memory.windowAt(address)[memory.offsetAt(address)] = value
    return true
  }

  /** Copies up to `length` bytes from `offset` of the buffer to `target`; returns how many there were. */
  read(offset: number, target: Uint8Array, at = 0, length = target.length - at): number {
    return this.copy(offset, target, at, length, false)
  }

  /** Copies up to `length` bytes of `source` to `offset` of the buffer; returns how many there was room for. */
  write(offset: number, source: Uint8Array, at = 0, length = source.length - at): number {
    return this.copy(offset, source, at, length, true)
  }

  /** Sets `length` bytes from `offset` on to `value`; returns how many there was room for. */
  fill(offset: number, value: number, length: number): number {
    let done = 0
    let more = this.seek(offset)
    while (more && done < length) {
      const piece = Math.min(this.room, length - done) | 0
      const address = (this.starts[this.index] as number) + this.skip
      const at = this.memory.offsetAt(address)
      this.memory.windowAt(address).fill(value, at, at + piece)
      done += piece
      more = this.step()
    }
    return done
  }

  /**
   * Writes struct iovec entries with host addresses for `length` bytes from `offset` of the buffer to `view` at `at`;
   * returns how many entries. Throws when there are more than `most`.
   */
  iovecs(view: DataView, at: number, most: number, offset = 0, length = this.size - offset): number {
    let count = 0
    let rest = length
    let entry = at
    let more = this.seek(offset)
    while (more && rest > 0) {
      assert(count < most, 'the iovec array has room for the extents')
      const size = Math.min(this.room, rest)
      const host = this.memory.hostAddress((this.starts[this.index] as number) + this.skip)
      view.setUint32(entry, host % TWO_TO_32, true)
      view.setUint32(entry + 4, Math.floor(host / TWO_TO_32), true)
      view.setUint32(entry + 8, size % TWO_TO_32, true)
      view.setUint32(entry + 12, Math.floor(size / TWO_TO_32), true)
      entry += IOVEC_SIZE
      count++
      rest -= size
      more = this.step()
    }
    return count
  }

  /** Calls `use` with guest-physical address and size of each piece of `length` bytes from `offset` on. */
  visit(offset: number, length: number, use: (address: number, size: number) => void): void {
    let skip = offset
    let rest = length
    for (let i = 0; i < this.count && rest > 0; i++) {
      const size = this.lengths[i] as number
      if (skip >= size) {
        skip -= size
        continue
      }
      const piece = Math.min(size - skip, rest)
      use((this.starts[i] as number) + skip, piece)
      rest -= piece
      skip = 0
    }
  }

  /** Finds the extent of `offset`; false behind the end. */
  private seek(offset: number): boolean {
    const { count, lengths } = this
    let skip = offset
    for (let i = 0; i < count; i++) {
      const size = lengths[i] as number
      if (skip < size) {
        this.index = i
        this.skip = skip
        this.room = size - skip
        return true
      }
      skip -= size
    }
    return false
  }

  /** Goes on to the start of the next extent; false when there is none. */
  private step(): boolean {
    this.index++
    this.skip = 0
    if (this.index >= this.count) return false
    this.room = this.lengths[this.index] as number
    return true
  }

  /** A little-endian value that may lie in several extents. */
  private gather(offset: number, size: number): number {
    assert(offset + size <= this.size, 'the value lies in the buffer')
    let value = 0
    for (let i = size - 1; i >= 0; i--) {
      this.seek(offset + i)
      const address = (this.starts[this.index] as number) + this.skip
      const { memory } = this
      value = value * 256 + (memory.windowAt(address)[memory.offsetAt(address)] as number)
    }
    return value
  }

  private copy(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): number {
    let done = 0
    let more = this.seek(offset)
    while (more && done < length) {
      const piece = Math.min(this.room, length - done) | 0
      const address = (this.starts[this.index] as number) + this.skip
      const guest = this.memory.windowAt(address)
      const guestAt = this.memory.offsetAt(address)
      if (write) copyBytes(bytes, at + done, guest, guestAt, piece)
      else copyBytes(guest, guestAt, bytes, at + done, piece)
      done += piece
      more = this.step()
    }
    return done
  }

  private grow(): void {
    const starts = new Float64Array(this.starts.length * 2)
    const lengths = new Float64Array(this.lengths.length * 2)
    starts.set(this.starts)
    lengths.set(this.lengths)
    this.starts = starts
    this.lengths = lengths
  }
}

function copyBytes(from: Uint8Array, fromAt: number, to: Uint8Array, toAt: number, length: number): void {
  if (length <= SMALL_COPY) for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i] as number
  else if (length === from.length) to.set(from, toAt)
  else to.set(from.subarray(fromAt, fromAt + length), toAt)
}

/**
 * A list of guest-physical ranges: what a device's buffer comes to after translation. Every extent lies in RAM and in
 * one window of it, so each has one host address. Reused from request to request; nothing is allocated on the way.
 */
import { assert } from '../base/errors.ts'
import type { GuestMemory } from './guest-memory.ts'

const INITIAL_CAPACITY = 32
/** struct iovec: base and length, 8 bytes each. */
export const IOVEC_SIZE = 16

/** Ranges in the order of the buffer's bytes. */
export class Extents {
  /** How many extents there are. */
  count = 0
  /** Bytes in all of them. */
  size = 0
  private starts = new Float64Array(INITIAL_CAPACITY)
  private lengths = new Float64Array(INITIAL_CAPACITY)

  constructor(readonly memory: GuestMemory) {}

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
    if (this.count === this.starts.length) this.grow()
    this.starts[this.count] = start
    this.lengths[this.count] = length
    this.count++
    this.size += length
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
    this.visit(offset, length, (address, size) => {
      this.memory.bytesAt(address, size).fill(value)
      done += size
    })
    return done
  }

  /**
   * Writes struct iovec entries with host addresses for `length` bytes from `offset` of the buffer to `view` at `at`;
   * returns how many entries. Throws when there are more than `most`.
   */
  iovecs(view: DataView, at: number, most: number, offset = 0, length = this.size - offset): number {
    let count = 0
    this.visit(offset, length, (address, size) => {
      assert(count < most, 'the iovec array has room for the extents')
      const host = this.memory.hostAddress(address)
      const entry = at + count * IOVEC_SIZE
      view.setUint32(entry, host % 0x1_0000_0000, true)
      view.setUint32(entry + 4, Math.floor(host / 0x1_0000_0000), true)
      view.setUint32(entry + 8, size % 0x1_0000_0000, true)
      view.setUint32(entry + 12, Math.floor(size / 0x1_0000_0000), true)
      count++
    })
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

  private copy(offset: number, bytes: Uint8Array, at: number, length: number, write: boolean): number {
    let done = 0
    this.visit(offset, length, (address, size) => {
      const guest = this.memory.bytesAt(address, size)
      const host = bytes.subarray(at + done, at + done + size)
      if (write) guest.set(host)
      else host.set(guest)
      done += size
    })
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

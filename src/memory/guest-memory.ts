/**
 * Guest physical memory: the only way to it. Ranges are checked, a range may cross windows, and no view that this
 * file hands out may be kept longer than the call that asked for it.
 *
 * Memory is a list of windows because one ArrayBuffer ends at 4 GiB and byte indexes from 2^31 on are slow.
 */
import { assert } from '../base/errors.ts'

/** Bytes backing guest-physical addresses from `start` on. */
export interface MemoryWindow {
  readonly start: number
  readonly bytes: Uint8Array
  /** Address of `bytes` in this process, for system calls; absent in tests that make none. */
  readonly hostAddress?: number
}

/** A guest's RAM. */
export class GuestMemory {
  private readonly windows: readonly MemoryWindow[]
  private readonly views: readonly DataView[]
  /** First address behind each window. */
  private readonly ends: readonly number[]
  /** Devices stay in one window for long. */
  private last = 0
  private lastStart = 0
  private lastEnd = 0

  /** `windows` may come in any order and must not overlap. */
  constructor(windows: readonly MemoryWindow[]) {
    this.windows = windows.toSorted((a, b) => a.start - b.start)
    let end = 0
    for (const window of this.windows) {
      assert(window.start >= end, 'memory windows do not overlap')
      assert(window.bytes.length < 2 ** 31, 'offsets in a window are 32-bit integers')
      end = window.start + window.bytes.length
    }
    this.ends = this.windows.map(window => window.start + window.bytes.length)
    this.views = this.windows.map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length))
  }

  /** Bytes from `address` to the end of its window; 0 when there is no RAM. */
  windowRoom(address: number): number {
    const index = this.find(address)
    return index < 0 ? 0 : (this.ends[index] as number) - address
  }

  /** Address in this process of a byte of RAM, valid up to the end of its window. */
  hostAddress(address: number): number {
    const window = this.windows[this.windowOf(address)] as MemoryWindow
    assert(window.hostAddress !== undefined, 'this memory has host addresses')
    return window.hostAddress + (address - window.start)
  }

  /** The bytes of a range that lies in one window (`windowRoom`); not to be kept. */
  bytesAt(address: number, size: number): Uint8Array {
    const window = this.windows[this.windowOf(address)] as MemoryWindow
    assert(address - window.start + size <= window.bytes.length, 'the range lies in one window')
    return window.bytes.subarray(address - window.start, address - window.start + size)
  }

  /**
   * The window of `address` as a DataView, and where `address` is in it (`offsetAt`): for rings, which are looked up
   * once and used for as long as their DmaSpace's version stays.
   */
  viewAt(address: number): DataView {
    return this.views[this.windowOf(address)] as DataView
  }

  /** The window of `address` as bytes, like `viewAt`. */
  windowAt(address: number): Uint8Array {
    return (this.windows[this.windowOf(address)] as MemoryWindow).bytes
  }

  /** Offset of `address` in its window. */
  offsetAt(address: number): number {
    // `| 0`: the difference of two doubles is one, and a view indexed by a double takes ten times as long.
    return (address - (this.windows[this.windowOf(address)] as MemoryWindow).start) | 0
  }

  private windowOf(address: number): number {
    const index = this.find(address)
    // Not by `assert`: making its text would cost more than all the rest.
    if (index < 0) throw new Error(`internal error: 0x${address.toString(16)} is RAM`)
    return index
  }

  private find(address: number): number {
    if (address >= this.lastStart && address < this.lastEnd) return this.last
    const { windows, ends } = this
    for (let i = 0; i < windows.length; i++) {
      const start = (windows[i] as MemoryWindow).start
      const end = ends[i] as number
      if (address >= start && address < end) {
        this.last = i
        this.lastStart = start
        this.lastEnd = end
        return i
      }
    }
    return -1
  }

  /** Whether all of the range is RAM. */
  contains(start: number, size: number): boolean {
    let covered = 0
    for (const part of this.slices(start, size)) covered += part.length
    return covered === size
  }

  /** Copies `bytes` to `start`; false, and nothing written, when part of the range is not RAM. */
  write(start: number, bytes: Uint8Array): boolean {
    const parts = this.slices(start, bytes.length)
    if (parts.reduce((sum, part) => sum + part.length, 0) !== bytes.length) return false
    let at = 0
    for (const part of parts) {
      part.set(bytes.subarray(at, at + part.length))
      at += part.length
    }
    return true
  }

  /** A copy of the range; undefined when part of it is not RAM. */
  read(start: number, size: number): Uint8Array | undefined {
    const parts = this.slices(start, size)
    if (parts.reduce((sum, part) => sum + part.length, 0) !== size) return undefined
    const copy = new Uint8Array(size)
    let at = 0
    for (const part of parts) {
      copy.set(part, at)
      at += part.length
    }
    return copy
  }

  /** Views of the range's parts in ascending order, short where it is not RAM. */
  private slices(start: number, size: number): Uint8Array[] {
    const parts: Uint8Array[] = []
    let at = start
    const end = start + size
    for (const window of this.windows) {
      const windowEnd = window.start + window.bytes.length
      if (at < window.start || at >= windowEnd || at >= end) continue
      const stop = Math.min(end, windowEnd)
      parts.push(window.bytes.subarray(at - window.start, stop - window.start))
      at = stop
    }
    return parts
  }
}

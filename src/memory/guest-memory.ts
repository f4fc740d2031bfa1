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
}

/** A guest's RAM. */
export class GuestMemory {
  private readonly windows: readonly MemoryWindow[]

  /** `windows` may come in any order and must not overlap. */
  constructor(windows: readonly MemoryWindow[]) {
    this.windows = windows.toSorted((a, b) => a.start - b.start)
    let end = 0
    for (const window of this.windows) {
      assert(window.start >= end, 'memory windows do not overlap')
      end = window.start + window.bytes.length
    }
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

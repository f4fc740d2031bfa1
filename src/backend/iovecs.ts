/** A queue of struct iovec (readv(2), sendmsg(2)): filled at its end from translated buffers, used up at its front. */

import { getU64, setU64 } from '../base/u64.ts'
import { CBuffer } from '../host/c-buffer.ts'
import type { Pointer } from '../host/libc.ts'
import { copyMemory } from '../host/memory.ts'
import { type Extents, IOVEC_SIZE } from '../memory/extents.ts'

/** The kernel takes 1024 at once (UIO_MAXIOV); two are left for what the user of the queue adds. */
const MOST = 1022
/** Room behind the longest queue, so that used entries are moved out only now and then. */
const CAPACITY = 4 * MOST

const REPLACED_WORDS = IOVEC_SIZE / 4

/**
 * Pieces of memory in order. The memory is guest RAM, which stays mapped for as long as its machine; whether it may
 * still be used (reset, translation) is the owner's to know.
 */
export class Iovecs {
  private readonly entries = new CBuffer((CAPACITY + 2) * IOVEC_SIZE)
  private first = 0
  /** What `restore` puts back, and where. */
  private readonly replaced = new Uint32Array(REPLACED_WORDS)
  private replacedAt = 0
  /** Entries. */
  count = 0
  /** Bytes in all of them. */
  size = 0

  /** The first entry. */
  get pointer(): Pointer {
    return (this.entries.pointer + this.first * IOVEC_SIZE) as Pointer
  }

  clear(): void {
    this.first = 0
    this.count = 0
    this.size = 0
  }

  /** Appends `length` bytes from `offset` of `buffer`; false, and nothing done, when that would be too many entries. */
  append(buffer: Extents, offset = 0, length = buffer.size - offset): boolean {
    if (this.count + buffer.count > MOST) return false
    if (this.first + this.count + buffer.count > CAPACITY) this.moveToFront()
    this.count += buffer.iovecs(this.entries.view, this.end, buffer.count, offset, length)
    this.size += length
    return true
  }

  /** Appends memory of ours, which the caller keeps alive. At most two of these, without a check. */
  appendMemory(pointer: number, size: number): void {
    setU64(this.entries.view, this.end, pointer)
    setU64(this.entries.view, this.end + 8, size)
    this.count++
    this.size += size
  }

  /** Bytes of the first `count` entries. */
  sizeOf(count: number): number {
    let size = 0
    for (let i = 0; i < count; i++) size += this.lengthOf(i)
    return size
  }

  /** Puts another entry in the place of entry `index`, or behind the last one, until `restore`. */
  replace(index: number, pointer: number, size: number): void {
    const { view } = this.entries
    const at = (this.first + index) * IOVEC_SIZE
    this.replacedAt = at
    for (let i = 0; i < REPLACED_WORDS; i++) this.replaced[i] = view.getUint32(at + 4 * i, true)
    setU64(view, at, pointer)
    setU64(view, at + 8, size)
  }

  restore(): void {
    const { view } = this.entries
    for (let i = 0; i < REPLACED_WORDS; i++) view.setUint32(this.replacedAt + 4 * i, this.replaced[i] as number, true)
  }

  /** Removes the first `count` entries. */
  take(count: number): void {
    for (let i = 0; i < count; i++) this.size -= this.lengthOf(i)
    this.first += count
    this.count -= count
    if (this.count === 0) this.first = 0
  }

  /** Appends to `target` what `length` bytes from `offset` on come to. */
  copyEntries(target: Iovecs, offset: number, length: number): void {
    this.visit(offset, length, (address, size) => target.appendMemory(address, size))
  }

  /** Copies the first `size` bytes to `pointer`. */
  copyOut(pointer: number, size: number): void {
    let at = pointer
    this.visit(0, size, (address, length) => {
      copyMemory(at, address, length)
      at += length
    })
  }

  /** Copies `size` bytes from `pointer` to `offset`. */
  copyIn(pointer: number, size: number, offset = 0): void {
    let at = pointer
    this.visit(offset, size, (address, length) => {
      copyMemory(address, at, length)
      at += length
    })
  }

  private visit(offset: number, length: number, use: (address: number, size: number) => void): void {
    let skip = offset
    let rest = length
    for (let i = 0; i < this.count && rest > 0; i++) {
      const size = this.lengthOf(i)
      if (skip >= size) {
        skip -= size
        continue
      }
      const piece = Math.min(size - skip, rest)
      use(getU64(this.entries.view, (this.first + i) * IOVEC_SIZE) + skip, piece)
      rest -= piece
      skip = 0
    }
  }

  private get end(): number {
    return (this.first + this.count) * IOVEC_SIZE
  }

  private lengthOf(index: number): number {
    return getU64(this.entries.view, (this.first + index) * IOVEC_SIZE + 8)
  }

  private moveToFront(): void {
    const start = this.first * IOVEC_SIZE
    this.entries.bytes.copyWithin(0, start, start + this.count * IOVEC_SIZE)
    this.first = 0
  }
}

/** Bytes of a guest that a socket has not taken yet: a ring at a stable address, there only while it is in use. */
import { assert } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import type { Pointer } from '../host/libc.ts'
import type { Extents } from '../memory/extents.ts'

/** At most `capacity` bytes. */
export class VsockBacklog {
  length = 0
  private first = 0
  private buffer: CBuffer | undefined

  constructor(private readonly capacity: number) {}

  /** Appends `length` bytes from `offset` of `source`, for which there is room. */
  push(source: Extents, offset: number, length: number): void {
    assert(length <= this.capacity - this.length, 'a backlog holds what flow control lets through')
    this.buffer ??= new CBuffer(this.capacity)
    const { bytes } = this.buffer
    const at = (this.first + this.length) % this.capacity
    const straight = Math.min(length, this.capacity - at)
    source.read(offset, bytes, at, straight)
    if (straight < length) source.read(offset + straight, bytes, 0, length - straight)
    this.length += length
  }

  /** Address of the oldest bytes, of which `straight` follow each other; valid until the next change. */
  get pointer(): Pointer {
    assert(this.buffer !== undefined, 'the backlog is not empty')
    return (this.buffer.pointer + this.first) as Pointer
  }

  get straight(): number {
    return Math.min(this.length, this.capacity - this.first)
  }

  /** Drops the `count` oldest bytes. */
  skip(count: number): void {
    this.length -= count
    this.first = (this.first + count) % this.capacity
    if (this.length === 0) this.clear()
  }

  clear(): void {
    this.length = 0
    this.first = 0
    this.buffer = undefined
  }
}

/** Memory handed to C: a struct with a stable address. */
import { type Pointer, ptr } from 'bun:ffi'

/**
 * Zeroed bytes that C may read and write at `pointer`, for as long as this object is referenced.
 *
 * Built over an explicit ArrayBuffer: the address of a small TypedArray goes stale once its `.buffer` is touched,
 * that of an ArrayBuffer does not.
 */
export class CBuffer {
  readonly buffer: ArrayBuffer
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly pointer: Pointer

  constructor(readonly size: number) {
    this.buffer = new ArrayBuffer(Math.max(size, 8))
    this.bytes = new Uint8Array(this.buffer, 0, size)
    this.view = new DataView(this.buffer, 0, size)
    this.pointer = ptr(this.buffer)
  }

  /** A copy of `bytes` at a stable address. */
  static of(bytes: Uint8Array): CBuffer {
    const copy = new CBuffer(bytes.length)
    copy.bytes.set(bytes)
    return copy
  }
}

/**
 * A byte stream between two threads: one producer, one consumer, over a SharedArrayBuffer. Carries console input and
 * output between the main thread and the device thread.
 *
 * `head` counts bytes written and belongs to the producer, `tail` counts bytes read and belongs to the consumer; both
 * wrap at 2^32, which the power-of-two capacity divides. Storing `head` publishes the bytes before it, storing `tail`
 * gives their room back (Atomics order both).
 */
import { assert } from '../base/errors.ts'

const HEAD = 0
const TAIL = 1
const CONSUMER_IDLE = 2
const PRODUCER_BLOCKED = 3
const HEADER_BYTES = 16

/** One end (either) of the ring. */
export class ByteRing {
  private readonly words: Int32Array
  private readonly bytes: Uint8Array

  constructor(readonly shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared, 0, HEADER_BYTES / 4)
    this.bytes = new Uint8Array(shared, HEADER_BYTES)
  }

  /** A ring of `capacity` bytes, a power of two. */
  static create(capacity: number): ByteRing {
    assert((capacity & (capacity - 1)) === 0, 'a ring capacity is a power of two')
    const ring = new ByteRing(new SharedArrayBuffer(HEADER_BYTES + capacity))
    Atomics.store(ring.words, CONSUMER_IDLE, 1)
    return ring
  }

  /** Bytes that can be read now. */
  get length(): number {
    return (Atomics.load(this.words, HEAD) - Atomics.load(this.words, TAIL)) >>> 0
  }

  /** Producer: appends what fits and returns how many bytes that were. */
  push(source: Uint8Array): number {
    const head = Atomics.load(this.words, HEAD)
    const count = Math.min(source.length, this.bytes.length - this.length)
    const mask = this.bytes.length - 1
    for (let i = 0; i < count; i++) this.bytes[(head + i) & mask] = source[i] as number
    Atomics.store(this.words, HEAD, head + count)
    return count
  }

  /** Producer: appends one byte; false when the ring is full. */
  pushByte(value: number): boolean {
    const head = Atomics.load(this.words, HEAD)
    if (this.length === this.bytes.length) return false
    this.bytes[head & (this.bytes.length - 1)] = value
    Atomics.store(this.words, HEAD, head + 1)
    return true
  }

  /** Consumer: takes up to `limit` bytes. */
  take(limit = this.bytes.length): Uint8Array {
    const tail = Atomics.load(this.words, TAIL)
    const count = Math.min(limit, this.length)
    const mask = this.bytes.length - 1
    const result = new Uint8Array(count)
    for (let i = 0; i < count; i++) result[i] = this.bytes[(tail + i) & mask] as number
    Atomics.store(this.words, TAIL, tail + count)
    return result
  }

  /** Consumer: looks at up to `limit` bytes and leaves them. */
  peek(limit: number): Uint8Array {
    const tail = Atomics.load(this.words, TAIL)
    const result = new Uint8Array(Math.min(limit, this.length))
    for (let i = 0; i < result.length; i++) result[i] = this.bytes[(tail + i) & (this.bytes.length - 1)] as number
    return result
  }

  /** Consumer: drops `count` bytes that `peek` showed. */
  skip(count: number): void {
    Atomics.store(this.words, TAIL, Atomics.load(this.words, TAIL) + count)
  }

  /** Consumer, before it sleeps: asks to be woken. Look at `length` again afterwards. */
  sleep(): void {
    Atomics.store(this.words, CONSUMER_IDLE, 1)
  }

  /** Producer, after a push: whether the consumer sleeps and has to be woken (true once a sleep). */
  mustWakeConsumer(): boolean {
    return Atomics.load(this.words, CONSUMER_IDLE) === 1 && Atomics.exchange(this.words, CONSUMER_IDLE, 0) === 1
  }

  /** Producer, when a push did not fit: asks to be told of room. Try the push again afterwards. */
  block(): void {
    Atomics.store(this.words, PRODUCER_BLOCKED, 1)
  }

  /** Consumer, after it took bytes: whether the producer waits for room (true once a block). */
  mustWakeProducer(): boolean {
    return Atomics.load(this.words, PRODUCER_BLOCKED) === 1 && Atomics.exchange(this.words, PRODUCER_BLOCKED, 0) === 1
  }
}

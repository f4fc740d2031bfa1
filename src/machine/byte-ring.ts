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

  /** Bytes that fit now. */
  get room(): number {
    return this.bytes.length - this.length
  }

  /** Producer: appends what fits and returns how many bytes that were. */
  push(source: Uint8Array): number {
    const head = Atomics.load(this.words, HEAD)
    const count = Math.min(source.length, this.room)
    const at = head & (this.bytes.length - 1)
    const first = Math.min(count, this.bytes.length - at)
    this.bytes.set(first === source.length ? source : source.subarray(0, first), at)
    if (first < count) this.bytes.set(source.subarray(first, count), 0)
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
    const result = this.peek(limit)
    this.skip(result.length)
    return result
  }

  /** Consumer: takes as many bytes as there are and fit `target`; returns how many. */
  read(target: Uint8Array): number {
    const count = this.copy(target)
    this.skip(count)
    return count
  }

  /** Consumer: looks at up to `limit` bytes and leaves them. */
  peek(limit: number): Uint8Array {
    const result = new Uint8Array(Math.min(limit, this.length))
    this.copy(result)
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

  /** The oldest bytes, as many as there are and fit `target`. */
  private copy(target: Uint8Array): number {
    const at = Atomics.load(this.words, TAIL) & (this.bytes.length - 1)
    const count = Math.min(target.length, this.length)
    const first = Math.min(count, this.bytes.length - at)
    target.set(this.bytes.subarray(at, at + first))
    if (first < count) target.set(this.bytes.subarray(0, count - first), first)
    return count
  }
}

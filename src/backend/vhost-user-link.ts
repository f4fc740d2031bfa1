/**
 * How the main thread, which starts the back end's process, and the device thread, which talks to it, tell each other
 * of connections and deaths: a few words of shared memory, an eventfd to the device thread, Atomics.waitAsync to the
 * main thread. Each process has a generation, so that news of an old one are not taken for news of the present one.
 */
import { EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import { EventFd } from '../host/eventfd.ts'
import { closeFd } from '../host/fd.ts'
import type { VhostUserSource } from './vhost-user.ts'

/** Plain data for the device thread. */
export interface VhostUserLink {
  readonly shared: SharedArrayBuffer
  /** An eventfd; the main thread's end owns it. */
  readonly bell: number
}

// One 64-bit word.
/** The socket of a new connection, and in the upper half the generation of its process; 0 when somebody took it. */
const SOCKET = 0
// 32-bit words.
/** The last process that is gone. */
const ENDED = 2
/** The last process that is to be ended by force. */
const UNWANTED = 3
const REASON_LENGTH = 4
const REASON_AT = 20
const REASON_BYTES = 1004
const SOCKET_MASK = 0xffff_ffffn

/** The main thread's end. */
export class LinkOwner {
  readonly link: VhostUserLink
  private readonly words: Int32Array
  private readonly socket: BigInt64Array
  private readonly bell = EventFd.create()
  private generation = 0
  private closed = false

  /** Calls `unwanted` when the device thread wants the present process ended. */
  constructor(unwanted: () => void) {
    const shared = new SharedArrayBuffer(REASON_AT + REASON_BYTES)
    this.link = { shared, bell: this.bell.fd }
    this.words = new Int32Array(shared)
    this.socket = new BigInt64Array(shared, 0, 1)
    void this.listen(unwanted)
  }

  /** Hands over a connected socket. */
  connected(fd: number): void {
    this.generation++
    this.dropSocket()
    Atomics.store(this.socket, SOCKET, (BigInt(this.generation) << 32n) | BigInt(fd))
    this.bell.signal()
  }

  /** The process behind the last connection is gone; `reason` says how, cut if it is long. */
  ended(reason: string): void {
    const bytes = new TextEncoder().encode(reason).subarray(0, REASON_BYTES)
    new Uint8Array(this.words.buffer, REASON_AT).set(bytes)
    Atomics.store(this.words, REASON_LENGTH, bytes.length)
    Atomics.store(this.words, ENDED, this.generation)
    this.bell.signal()
  }

  /** When the device thread uses its end no more. */
  close(): void {
    this.closed = true
    Atomics.store(this.words, UNWANTED, -1)
    Atomics.notify(this.words, UNWANTED)
    this.dropSocket()
    this.bell[Symbol.dispose]()
  }

  private dropSocket(): void {
    const left = Atomics.exchange(this.socket, SOCKET, 0n)
    if (left !== 0n) closeFd(Number(left & SOCKET_MASK))
  }

  private async listen(unwanted: () => void): Promise<void> {
    for (;;) {
      const value = Atomics.load(this.words, UNWANTED)
      if (this.closed) return
      if (value === this.generation && value !== Atomics.load(this.words, ENDED)) unwanted()
      await Atomics.waitAsync(this.words, UNWANTED, value).value
    }
  }
}

/** The device thread's end. */
export class LinkSource implements VhostUserSource {
  private readonly words: Int32Array
  private readonly socket: BigInt64Array
  private readonly bell: EventFd
  /** The process that we were connected to last, and whether it was reported as gone. */
  private generation = 0
  private reported = 0

  constructor(
    private readonly link: VhostUserLink,
    private readonly loop: EventLoop,
  ) {
    this.words = new Int32Array(link.shared)
    this.socket = new BigInt64Array(link.shared, 0, 1)
    this.bell = new EventFd(link.bell)
  }

  open(events: { connected(fd: number): void; ended(reason: string): void }): void {
    const look = () => {
      const ended = Atomics.load(this.words, ENDED)
      if (ended >= this.generation && this.reported < this.generation) {
        this.reported = this.generation
        events.ended(this.reason())
      }
      const taken = Atomics.exchange(this.socket, SOCKET, 0n)
      if (taken === 0n) return
      const fd = Number(taken & SOCKET_MASK)
      const generation = Number(taken >> 32n)
      if (Atomics.load(this.words, ENDED) >= generation) {
        closeFd(fd)
        return
      }
      this.generation = generation
      events.connected(fd)
    }
    this.loop.watch(this.bell.fd, EPOLLIN, () => {
      this.bell.take()
      look()
    })
    look()
  }

  end(): void {
    Atomics.store(this.words, UNWANTED, this.generation)
    Atomics.notify(this.words, UNWANTED)
  }

  close(): void {
    this.loop.unwatch(this.link.bell)
  }

  private reason(): string {
    const bytes = new Uint8Array(this.words.buffer, REASON_AT, Atomics.load(this.words, REASON_LENGTH))
    // A copy: a decoder does not take shared memory.
    return new TextDecoder().decode(bytes.slice())
  }
}

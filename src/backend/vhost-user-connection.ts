/**
 * The front end's side of a vhost-user socket: sends requests in a row, and matches the replies as they come in. Never
 * blocks: who wants to know when something is done gives a callback. QEMU 7.2 docs/interop/vhost-user.rst.
 *
 * A peer that closes, answers nonsense or does not answer in time makes the connection fail, once; it is of no use
 * then, as nobody knows what state the back end is in.
 */
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN, errnoName } from '../host/errno.ts'
import { EPOLLIN, EPOLLOUT, type EventLoop } from '../host/event-loop.ts'
import { closeFd } from '../host/fd.ts'
import { SocketMessage } from '../host/socket-message.ts'
import {
  encodeMessage,
  HEADER_FLAGS,
  HEADER_PAYLOAD,
  HEADER_SIZE,
  requestName,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
  VHOST_USER_VERSION_MASK,
} from './vhost-user-protocol.ts'

/** How long the peer may take for one reply. */
export const REPLY_TIMEOUT_MS = 10_000
/** Largest payload of a reply that we ask for. */
const MAX_REPLY = 8
const NO_PAYLOAD = new Uint8Array(0)

/** A one-shot timer. */
export interface Alarm {
  arm(delayMs: number, expired: () => void): void
  cancel(): void
}

/** What a connection runs on. */
export interface ConnectionHost {
  readonly loop: EventLoop
  readonly alarm: Alarm
  /** The connection is of no use any more; told once, with a reason that follows the back end's name. */
  readonly failed: (reason: string) => void
}

/** A request whose reply is awaited. */
interface Expected {
  readonly request: number
  readonly size: number
  readonly take: (payload: DataView) => void
}

interface Outgoing {
  readonly bytes: CBuffer
  readonly fds: readonly number[]
  sent: number
}

/** One connected socket, which it owns. */
export class VhostUserConnection {
  /** VHOST_USER_PROTOCOL_F_REPLY_ACK was negotiated: `command` asks for a status. */
  acknowledges = false
  private readonly socket = new SocketMessage()
  private readonly input = new CBuffer(HEADER_SIZE + MAX_REPLY)
  private readonly expected: Expected[] = []
  private readonly outgoing: Outgoing[] = []
  /** Bytes of the message that is coming in. */
  private received = 0
  /** The socket is full; EPOLLOUT is watched for. */
  private blocked = false
  private open = true

  constructor(
    private readonly fd: number,
    private readonly host: ConnectionHost,
  ) {
    host.loop.watch(fd, EPOLLIN, events => this.ready(events))
  }

  /** Sends a request that has no reply of its own. `fds` must stay open until it is gone: the caller keeps them. */
  command(request: number, payload: Uint8Array, fds: readonly number[] = []): void {
    if (!this.acknowledges) {
      this.send(request, 0, payload, fds)
      return
    }
    this.expect(request, 8, reply => {
      const status = reply.getBigUint64(0, true)
      if (status !== 0n) this.fail(`refused ${requestName(request)} with status ${status}`)
    })
    this.send(request, VHOST_USER_NEED_REPLY_MASK, payload, fds)
  }

  /** Sends a request with a reply of `size` bytes, for `take`; never called once the connection has failed. */
  query(request: number, payload: Uint8Array, size: number, take: (payload: DataView) => void): void {
    this.expect(request, size, take)
    this.send(request, 0, payload, [])
  }

  /** Asks for a 64-bit integer. */
  queryU64(request: number, take: (value: bigint) => void): void {
    this.query(request, NO_PAYLOAD, 8, reply => take(reply.getBigUint64(0, true)))
  }

  /** Closes the socket; nothing is called any more. */
  close(): void {
    if (this.open) closeFd(this.release())
  }

  /** Gives the socket to the caller, between two requests. */
  release(): number {
    this.open = false
    this.host.alarm.cancel()
    this.host.loop.unwatch(this.fd)
    this.outgoing.length = 0
    this.expected.length = 0
    return this.fd
  }

  private expect(request: number, size: number, take: (payload: DataView) => void): void {
    if (!this.open) return
    this.expected.push({ request, size, take })
    if (this.expected.length === 1) this.arm()
  }

  private arm(): void {
    this.host.alarm.arm(REPLY_TIMEOUT_MS, () => {
      const name = requestName(this.expected[0]?.request ?? 0)
      this.fail(`did not answer ${name} within ${REPLY_TIMEOUT_MS / 1000} s`)
    })
  }

  private send(request: number, flags: number, payload: Uint8Array, fds: readonly number[]): void {
    if (!this.open) return
    const bytes = CBuffer.of(encodeMessage(request, VHOST_USER_VERSION | flags, payload))
    this.outgoing.push({ bytes, fds, sent: 0 })
    if (this.outgoing.length === 1) this.flush()
  }

  private ready(events: number): void {
    if ((events & EPOLLOUT) !== 0) this.flush()
    // Also for EPOLLHUP and EPOLLERR: what the peer sent before is there still, and the end says so itself.
    if (this.open && (events & ~EPOLLOUT) !== 0) this.receive()
  }

  /** Sends what waits, as far as the socket takes it. */
  private flush(): void {
    for (let next = this.outgoing[0]; next !== undefined; next = this.outgoing[0]) {
      const { bytes, fds, sent } = next
      const pointer = (bytes.pointer + sent) as typeof bytes.pointer
      // Descriptors travel with the first byte.
      const count = this.socket.send(this.fd, pointer, bytes.size - sent, sent === 0 ? fds : [])
      if (count === -EAGAIN) {
        if (!this.blocked) this.host.loop.modify(this.fd, EPOLLIN | EPOLLOUT)
        this.blocked = true
        return
      }
      if (count < 0) {
        this.fail(`closed the connection (${errnoName(-count)})`)
        return
      }
      next.sent += count
      if (next.sent === bytes.size) this.outgoing.shift()
    }
    if (this.blocked) this.host.loop.modify(this.fd, EPOLLIN)
    this.blocked = false
  }

  /** Takes what has come in. Ends: each round takes a reply off the list, or leaves. */
  private receive(): void {
    while (this.open) {
      const wanted = this.wanted()
      if (wanted === this.received) {
        this.finish()
        continue
      }
      const fds: number[] = []
      const pointer = (this.input.pointer + this.received) as typeof this.input.pointer
      const count = this.socket.receive(this.fd, pointer, wanted - this.received, fds)
      for (const fd of fds) closeFd(fd)
      if (count === -EAGAIN) return
      if (count <= 0) {
        this.fail(count === 0 ? 'closed the connection' : `closed the connection (${errnoName(-count)})`)
        return
      }
      if (fds.length > 0) {
        this.fail('sent a descriptor that nobody asked for')
        return
      }
      this.received += count
    }
  }

  /** Bytes of the present message as far as that is known: the header says how many follow. */
  private wanted(): number {
    if (this.received < HEADER_SIZE) return HEADER_SIZE
    return HEADER_SIZE + Math.min(this.input.view.getUint32(HEADER_PAYLOAD, true), MAX_REPLY)
  }

  /** A whole message is there: checks it against the request it must belong to. */
  private finish(): void {
    const { view } = this.input
    this.received = 0
    const request = view.getUint32(0, true)
    const flags = view.getUint32(HEADER_FLAGS, true)
    const size = view.getUint32(HEADER_PAYLOAD, true)
    const expected = this.expected.shift()
    if (expected === undefined || expected.request !== request) {
      this.fail(`sent a reply to ${requestName(request)} that nobody waits for`)
      return
    }
    const isReply = (flags & VHOST_USER_REPLY_MASK) !== 0
    if (!isReply || (flags & VHOST_USER_VERSION_MASK) !== VHOST_USER_VERSION || size !== expected.size) {
      const seen = `flags 0x${flags.toString(16)}, ${size} bytes`
      this.fail(`sent a malformed reply to ${requestName(request)} (${seen})`)
      return
    }
    if (this.expected.length === 0) this.host.alarm.cancel()
    else this.arm()
    expected.take(new DataView(this.input.buffer, HEADER_SIZE, size))
  }

  private fail(reason: string): void {
    if (!this.open) return
    this.close()
    this.host.failed(reason)
  }
}

/** A vhost-user back end that a test plays: takes requests off a socket, answers as told, keeps the descriptors. */
import {
  encodeMessage,
  HEADER_SIZE,
  requestName,
  VHOST_USER_GET_FEATURES,
  VHOST_USER_GET_PROTOCOL_FEATURES,
  VHOST_USER_GET_QUEUE_NUM,
  VHOST_USER_GET_VRING_BASE,
  VHOST_USER_NEED_REPLY_MASK,
  VHOST_USER_REPLY_MASK,
  VHOST_USER_VERSION,
} from '../../src/backend/vhost-user-protocol.ts'
import { CBuffer } from '../../src/host/c-buffer.ts'
import { closeFd } from '../../src/host/fd.ts'
import { send } from '../../src/host/socket.ts'
import { SocketMessage } from '../../src/host/socket-message.ts'

const INPUT_BYTES = 65536
const VALUES: readonly number[] = [VHOST_USER_GET_FEATURES, VHOST_USER_GET_PROTOCOL_FEATURES, VHOST_USER_GET_QUEUE_NUM]

/** A request as it came in. */
export interface PeerRequest {
  readonly name: string
  readonly flags: number
  readonly payload: DataView
  readonly fds: readonly number[]
}

/** One end of a socket pair. */
export class VhostUserPeer {
  /** All requests so far. */
  readonly requests: PeerRequest[] = []
  /** What the GET requests answer. */
  value = 0n
  /** What requests with NEED_REPLY answer. */
  status = 0n
  /** Takes requests and answers nothing. */
  mute = false
  private readonly input = new CBuffer(INPUT_BYTES)
  private readonly socket = new SocketMessage()
  private open = true

  constructor(private readonly fd: number) {}

  /** Takes what has come in; the names of these requests. */
  serve(): readonly string[] {
    const fds: number[] = []
    const count = Math.max(this.socket.receive(this.fd, this.input.pointer, INPUT_BYTES, fds), 0)
    const first = this.requests.length
    // Descriptors come with the read that ends at their message, so that is the last one.
    for (let at = 0; at < count; ) {
      const size = HEADER_SIZE + this.input.view.getUint32(at + 8, true)
      this.take(at, size, at + size >= count ? fds : [])
      at += size
    }
    return this.requests.slice(first).map(({ name }) => name)
  }

  /** Like `serve`, until nothing comes in any more. */
  serveAll(): readonly string[] {
    const names: string[] = []
    for (let batch = this.serve(); batch.length > 0; batch = this.serve()) names.push(...batch)
    return names
  }

  /** The last request of a name. */
  last(name: string): PeerRequest {
    const request = this.requests.findLast(candidate => candidate.name === name)
    if (request === undefined) throw new Error(`there was no ${name}`)
    return request
  }

  /** Sends any bytes. */
  write(bytes: Uint8Array): void {
    const buffer = CBuffer.of(bytes)
    send(this.fd, buffer.pointer, buffer.size)
  }

  /** Sends bytes with a descriptor. */
  writeWith(bytes: Uint8Array, fd: number): void {
    const buffer = CBuffer.of(bytes)
    this.socket.send(this.fd, buffer.pointer, buffer.size, [fd])
  }

  /** Closes the socket, as a process that dies. */
  die(): void {
    if (this.open) closeFd(this.fd)
    this.open = false
  }

  [Symbol.dispose](): void {
    this.die()
    for (const { fds } of this.requests) for (const fd of fds) closeFd(fd)
  }

  private take(at: number, size: number, fds: readonly number[]): void {
    const { view, buffer } = this.input
    const request = view.getUint32(at, true)
    const flags = view.getUint32(at + 4, true)
    const payload = new DataView(buffer.slice(at + HEADER_SIZE, at + size))
    this.requests.push({ name: requestName(request), flags, payload, fds })
    if (this.mute) return
    if (VALUES.includes(request)) this.reply(request, this.value)
    else if (request === VHOST_USER_GET_VRING_BASE) this.reply(request, BigInt(payload.getUint32(0, true)))
    else if ((flags & VHOST_USER_NEED_REPLY_MASK) !== 0) this.reply(request, this.status)
  }

  private reply(request: number, value: bigint): void {
    const payload = new Uint8Array(BigUint64Array.of(value).buffer)
    this.write(encodeMessage(request, VHOST_USER_VERSION | VHOST_USER_REPLY_MASK, payload))
  }
}

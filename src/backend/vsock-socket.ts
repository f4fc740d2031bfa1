/**
 * One Unix socket as the host's side of a vsock connection.
 *
 * Watched edge-triggered once connected: `readable` is told when something new is there, and the device reads until
 * there is nothing. Guest memory goes straight to the socket and back; only what the socket does not take is copied.
 */
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN } from '../host/errno.ts'
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, type EventLoop } from '../host/event-loop.ts'
import { closeFd } from '../host/fd.ts'
import { receive, SHUT_RD, SHUT_WR, send, shutdownSocket } from '../host/socket.ts'
import { SocketMessage } from '../host/socket-message.ts'
import { type Extents, IOVEC_SIZE } from '../memory/extents.ts'
import { type VsockStream, type VsockStreamEvents, WINDOW_BYTES } from '../virtio/vsock-stream.ts'
import { VsockBacklog } from './vsock-backlog.ts'

/** Buffers in more pieces than this go through a copy. */
const MAX_PIECES = 64
const BOUNCE_BYTES = 2 ** 16

/** What all sockets of a device share; calls do not nest. */
export class VsockScratch {
  readonly message = new SocketMessage()
  readonly iovecs = new CBuffer(MAX_PIECES * IOVEC_SIZE)
  readonly bounce = new CBuffer(BOUNCE_BYTES)
}

/** A connected socket. */
export class VsockSocket implements VsockStream {
  events: VsockStreamEvents | undefined
  forwarded = 0
  private readonly backlog = new VsockBacklog(WINDOW_BYTES)
  /** Nothing can be sent any more. */
  private isBroken = false
  /** The peer is to see the end after the backlog. */
  private isFinishing = false
  /** The socket is closed after the backlog. */
  private isClosing = false
  private isClosed = false

  /** Takes over `fd`, which the caller watches with `onEvents`; `onClosed` is called once, when it is closed. */
  constructor(
    private readonly fd: number,
    private readonly loop: EventLoop,
    private readonly scratch: VsockScratch,
    private readonly onClosed: () => void,
  ) {}

  /** The first line that a program gets which asked for a connection, Firecracker's words. */
  accept(hostPort: number): void {
    if (this.isClosed) return
    const line = CBuffer.of(new TextEncoder().encode(`OK ${hostPort}\n`))
    // A socket that nothing was written to has room for it; a failure is one of a peer that has gone.
    send(this.fd, line.pointer, line.size)
    this.watch()
  }

  /** Listens to the socket in full; events that came before are told again. */
  watch(): void {
    this.loop.modify(this.fd, EPOLLET | EPOLLIN | EPOLLOUT)
  }

  /** What the event loop says of the socket. */
  onEvents(events: number): void {
    if ((events & EPOLLOUT) !== 0) this.flush()
    if (this.isClosed) return
    if ((events & (EPOLLHUP | EPOLLERR)) !== 0) {
      this.lose()
      if (this.isClosed) return
      this.events?.hungUp()
    } else if ((events & EPOLLIN) !== 0) this.events?.readable()
  }

  send(source: Extents, offset: number, length: number): void {
    if (this.isBroken) {
      this.forward(length)
      return
    }
    let done = 0
    if (this.backlog.length === 0 && source.count <= MAX_PIECES) {
      const { iovecs, message } = this.scratch
      const count = source.iovecs(iovecs.view, 0, MAX_PIECES, offset, length)
      // The extents lie in guest RAM, which is mapped for as long as devices run.
      done = this.taken(message.sendVector(this.fd, iovecs.pointer, count))
    }
    if (done < length && !this.isBroken) {
      this.backlog.push(source, offset + done, length - done)
      // A long list of pieces had no attempt yet, and there may be no event to come.
      if (done === 0) this.flush()
      return
    }
    if (this.isBroken) this.forward(length - done)
  }

  receive(target: Extents, offset: number, length: number): number {
    const { iovecs, message, bounce } = this.scratch
    let count: number
    if (target.count <= MAX_PIECES)
      count = message.receiveVector(this.fd, iovecs.pointer, target.iovecs(iovecs.view, 0, MAX_PIECES, offset, length))
    else {
      count = receive(this.fd, bounce.pointer, Math.min(length, BOUNCE_BYTES))
      if (count > 0) target.write(offset, bounce.bytes, 0, count)
    }
    if (count > 0) return count
    // An error here is the peer's end, with data of ours unread.
    return count === -EAGAIN ? 0 : -1
  }

  finishSending(): void {
    this.isFinishing = true
    this.finish()
  }

  stopReceiving(): void {
    shutdownSocket(this.fd, SHUT_RD)
  }

  close(): void {
    if (this.isClosed) return
    this.events = undefined
    this.isClosing = true
    this.finish()
  }

  abort(): void {
    if (this.isClosed) return
    this.events = undefined
    this.isClosed = true
    this.backlog.clear()
    this.loop.unwatch(this.fd)
    closeFd(this.fd)
    this.onClosed()
  }

  /** Sends from the backlog as far as the socket takes it. */
  private flush(): void {
    const { backlog } = this
    while (backlog.length > 0) {
      const size = backlog.straight
      const count = this.taken(send(this.fd, backlog.pointer, size))
      if (this.isBroken) return
      backlog.skip(count)
      if (count < size) return
    }
    this.finish()
  }

  /** The result of a send as bytes; an error other than a full socket breaks the connection. */
  private taken(result: number): number {
    if (result >= 0) {
      this.forward(result)
      return result
    }
    if (result !== -EAGAIN) {
      this.lose()
      this.events?.broken()
    }
    return 0
  }

  /** The peer takes nothing any more: lets go of what it would have got. */
  private lose(): void {
    if (this.isBroken) return
    this.isBroken = true
    const lost = this.backlog.length
    this.backlog.clear()
    this.forward(lost)
    this.finish()
  }

  private forward(count: number): void {
    this.forwarded = (this.forwarded + count) >>> 0
    if (count > 0) this.events?.forwarded()
  }

  private finish(): void {
    if (this.backlog.length > 0) return
    if (this.isClosing) this.abort()
    else if (this.isFinishing && !this.isClosed) shutdownSocket(this.fd, SHUT_WR)
  }
}

/**
 * The network backend on a stream socket to a user-mode network such as passt: each frame comes after its length, 32
 * bits, big-endian (QEMU's `-netdev stream`). No headers pass, so there are no offloads.
 */
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN } from '../host/errno.ts'
import { EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, type EventLoop } from '../host/event-loop.ts'
import type { Pointer } from '../host/libc.ts'
import { receive, send } from '../host/socket.ts'
import { SocketMessage } from '../host/socket-message.ts'
import type { Extents } from '../memory/extents.ts'
import { HEADER_SIZE, MAX_PACKET } from '../virtio/net-header.ts'
import { FAILED, type NetBackend, type NetEvents, type NetPort, TOO_LARGE, WOULD_BLOCK } from '../virtio/net-port.ts'
import { Iovecs } from './iovecs.ts'

const LENGTH_SIZE = 4

/** Watches the socket on the device thread; who opened it closes it after `close`. */
export class UserNetworkBackend implements NetBackend {
  readonly ports: readonly [StreamPort]
  readonly passesHeader = false
  readonly offloads = 0n
  linkUp = true

  constructor(
    private readonly fd: number,
    private readonly loop: EventLoop,
    private readonly warn: (message: string) => void,
  ) {
    this.ports = [new StreamPort(fd)]
  }

  start(events: NetEvents): void {
    const [port] = this.ports
    this.loop.watch(this.fd, EPOLLIN | EPOLLOUT | EPOLLET, ready => {
      if ((ready & EPOLLOUT) !== 0) {
        port.flush()
        events.writable(0)
      }
      if ((ready & ~EPOLLOUT) !== 0) events.readable(0)
      // Also while the guest takes nothing, and the end of the stream is not read.
      if ((ready & EPOLLHUP) !== 0) port.lost ??= 'it closed the connection'
      if (!this.linkUp || port.lost === undefined) return
      this.linkUp = false
      this.warn(`the guest's user-mode network is gone (${port.lost}): its link is down`)
      events.linkChanged()
    })
  }

  setGuestOffloads(features: bigint): boolean {
    return features === 0n
  }

  setActivePairs(count: number): boolean {
    return count === 1
  }

  defer(task: () => void): void {
    this.loop.defer(task)
  }

  close(): void {
    this.loop.unwatch(this.fd)
  }
}

/** Frames over a stream. */
class StreamPort implements NetPort {
  readonly header = new DataView(new ArrayBuffer(HEADER_SIZE))
  /** Why nothing comes any more. */
  lost: string | undefined
  private readonly message = new SocketMessage()
  private readonly room = new Iovecs()
  private readonly incoming = new Iovecs()
  private readonly outgoing = new Iovecs()
  /** Length of the next frame: how much of it is here, and what it is when it is complete. */
  private readonly length = new CBuffer(LENGTH_SIZE)
  private lengthDone = 0
  private frameSize = 0
  /** Bytes of the frame that are in the room already. */
  private frameDone = 0
  /** The rest of the frame is thrown away. */
  private isSkipping = false
  private readonly thrownAway = new CBuffer(16_384)
  private readonly sendLength = new CBuffer(LENGTH_SIZE)
  /** What of a frame the socket did not take at once. */
  private readonly rest = new CBuffer(LENGTH_SIZE + MAX_PACKET)
  private restAt = 0
  private restEnd = 0

  constructor(private readonly fd: number) {}

  addRoom(buffer: Extents): boolean {
    return this.room.append(buffer)
  }

  takeRoom(pieces: number): void {
    this.room.take(pieces)
  }

  clearRoom(): void {
    this.room.clear()
    // The start of the frame went with the room.
    if (this.frameDone > 0) this.isSkipping = true
  }

  receive(): number {
    // Each turn takes bytes of the socket, at most one frame beyond what is thrown away.
    while (this.lost === undefined) {
      if (this.lengthDone < LENGTH_SIZE) {
        if (!this.receiveLength()) return WOULD_BLOCK
      } else if (this.isSkipping) {
        if (!this.skip()) return WOULD_BLOCK
      } else if (HEADER_SIZE + this.frameSize > this.room.size) return TOO_LARGE
      else {
        const size = this.receiveFrame()
        if (size !== 0) return size
      }
    }
    return FAILED
  }

  discard(): void {
    this.isSkipping = true
  }

  send(packet: Extents): number {
    this.flush()
    if (this.restAt < this.restEnd) return WOULD_BLOCK
    const size = packet.size - HEADER_SIZE
    this.sendLength.view.setUint32(0, size)
    const { outgoing } = this
    outgoing.clear()
    outgoing.appendMemory(this.sendLength.pointer, LENGTH_SIZE)
    if (!outgoing.append(packet, HEADER_SIZE)) return FAILED
    const count = this.message.sendVector(this.fd, outgoing.pointer, outgoing.count)
    if (count === -EAGAIN) return WOULD_BLOCK
    if (count < 0) return FAILED
    if (count < LENGTH_SIZE + size) {
      // Copied, as the driver's buffer is its own again when this returns.
      outgoing.copyOut(this.rest.pointer, LENGTH_SIZE + size)
      this.restAt = count
      this.restEnd = LENGTH_SIZE + size
    }
    return 0
  }

  /** Sends what was left over. */
  flush(): void {
    while (this.restAt < this.restEnd) {
      const pointer = (this.rest.pointer + this.restAt) as Pointer
      const count = send(this.fd, pointer, this.restEnd - this.restAt)
      if (count === -EAGAIN) return
      if (count < 0) this.restAt = this.restEnd
      else this.restAt += count
    }
  }

  private receiveLength(): boolean {
    const pointer = (this.length.pointer + this.lengthDone) as Pointer
    const count = this.taken(receive(this.fd, pointer, LENGTH_SIZE - this.lengthDone))
    this.lengthDone += count
    if (this.lengthDone === LENGTH_SIZE) this.beginFrame()
    return count > 0
  }

  private beginFrame(): void {
    this.frameSize = this.length.view.getUint32(0)
    this.frameDone = 0
    this.isSkipping = false
    if (this.frameSize === 0) this.lengthDone = 0
    else if (this.frameSize > MAX_PACKET) this.lost = `it sent a frame of ${this.frameSize} bytes`
  }

  /** Takes the frame, and the length of the one behind it: its size with header when it is complete, or 0. */
  private receiveFrame(): number {
    const { incoming, room, frameSize } = this
    const missing = frameSize - this.frameDone
    incoming.clear()
    room.copyEntries(incoming, HEADER_SIZE + this.frameDone, missing)
    incoming.appendMemory(this.length.pointer, LENGTH_SIZE)
    const count = this.taken(this.message.receiveVector(this.fd, incoming.pointer, incoming.count))
    if (count === 0) return this.lost === undefined ? WOULD_BLOCK : FAILED
    if (count < missing) {
      this.frameDone += count
      return 0
    }
    this.lengthDone = count - missing
    this.frameDone = 0
    if (this.lengthDone === LENGTH_SIZE) this.beginFrame()
    return HEADER_SIZE + frameSize
  }

  private skip(): boolean {
    const size = Math.min(this.frameSize - this.frameDone, this.thrownAway.size)
    const count = this.taken(receive(this.fd, this.thrownAway.pointer, size))
    this.frameDone += count
    if (this.frameDone < this.frameSize) return count > 0
    this.isSkipping = false
    this.lengthDone = 0
    this.frameDone = 0
    return true
  }

  /** The bytes of a receive call, 0 when there were none; notes the end of the stream. */
  private taken(result: number): number {
    if (result > 0) return result
    if (result === 0) this.lost = 'it closed the connection'
    else if (result !== -EAGAIN) this.lost = `errno ${-result}`
    return 0
  }
}

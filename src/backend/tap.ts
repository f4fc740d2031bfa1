/**
 * The network backend on a tap interface, one descriptor per pair of queues. The kernel's header before each packet is
 * virtio's own (IFF_VNET_HDR, 12 bytes), so offloads pass between guest and host as they are.
 */
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN, EINTR } from '../host/errno.ts'
import { EPOLLERR, EPOLLET, EPOLLIN, EPOLLOUT, type EventLoop } from '../host/event-loop.ts'
import { errno, libc } from '../host/libc.ts'
import { setTapOffload, setTapQueue, TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6 } from '../host/tap.ts'
import type { Extents } from '../memory/extents.ts'
import {
  GUEST_OFFLOADS,
  HOST_OFFLOADS,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_ECN,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_GUEST_TSO6,
} from '../virtio/net-features.ts'
import { HEADER_SIZE, MAX_PACKET } from '../virtio/net-header.ts'
import { FAILED, type NetBackend, type NetEvents, type NetPort, TOO_LARGE, WOULD_BLOCK } from '../virtio/net-port.ts'
import { Iovecs } from './iovecs.ts'

const LARGEST = HEADER_SIZE + MAX_PACKET

/** With the spill this is what the kernel takes without memory of its own (UIO_FASTIOV is 8). */
const FEW_PIECES = 2

const OFFLOAD_FLAGS: readonly (readonly [feature: bigint, flag: number])[] = [
  [VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM],
  [VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4],
  [VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6],
  [VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN],
]

/** Watches the descriptors of a tap's queues on the device thread; who opened them closes them after `close`. */
export class TapBackend implements NetBackend {
  readonly ports: readonly TapPort[]
  readonly passesHeader = true
  readonly offloads = HOST_OFFLOADS | GUEST_OFFLOADS
  linkUp = true
  /** Whether each queue is in use; all are at first. */
  private readonly attached: boolean[]

  constructor(
    private readonly fds: readonly number[],
    private readonly loop: EventLoop,
    private readonly warn: (message: string) => void,
  ) {
    this.ports = fds.map(fd => new TapPort(fd))
    this.attached = fds.map(() => true)
  }

  start(events: NetEvents): void {
    // Edges, so that a guest without buffers costs nothing while packets wait, and no call is needed to say so.
    for (const [pair, fd] of this.fds.entries())
      this.loop.watch(fd, EPOLLIN | EPOLLOUT | EPOLLET, ready => {
        if ((ready & EPOLLOUT) !== 0) events.writable(pair)
        if ((ready & ~EPOLLOUT) !== 0) events.readable(pair)
        // What poll(2) says of a tap whose interface was removed, and of nothing else.
        if (this.linkUp && (ready & EPOLLERR) !== 0) {
          this.linkUp = false
          this.warn('a tap interface of the guest is gone: its link is down')
          events.linkChanged()
        }
      })
  }

  setGuestOffloads(features: bigint): boolean {
    let flags = 0
    for (const [feature, flag] of OFFLOAD_FLAGS) if ((features & feature) !== 0n) flags |= flag
    return this.try(() => setTapOffload(this.fds[0] as number, flags))
  }

  setActivePairs(count: number): boolean {
    return this.try(() => {
      for (const [pair, fd] of this.fds.entries()) {
        const isUsed = pair < count
        if (this.attached[pair] === isUsed) continue
        setTapQueue(fd, isUsed)
        this.attached[pair] = isUsed
      }
    })
  }

  defer(task: () => void): void {
    this.loop.defer(task)
  }

  close(): void {
    for (const fd of this.fds) this.loop.unwatch(fd)
  }

  private try(change: () => void): boolean {
    try {
      change()
      return true
    } catch (error) {
      this.warn(`the tap interface stays as it is: ${(error as Error).message}`)
      return false
    }
  }
}

/** One queue of the tap. */
class TapPort implements NetPort {
  readonly header: DataView
  private readonly room = new Iovecs()
  private readonly packet = new Iovecs()
  private readonly headerBuffer = new CBuffer(HEADER_SIZE)
  /** A packet that did not fit: its start where the room ended is what the room got, and the rest came here. */
  private readonly spill = new CBuffer(LARGEST)
  private spilled = 0
  /** Pieces that a packet is expected to take. */
  private expected = FEW_PIECES

  constructor(private readonly fd: number) {
    this.header = this.headerBuffer.view
  }

  addRoom(buffer: Extents): boolean {
    return this.room.append(buffer)
  }

  takeRoom(pieces: number): void {
    this.room.take(pieces)
  }

  clearRoom(): void {
    this.room.clear()
  }

  receive(): number {
    const { room } = this
    if (this.spilled > 0) return this.receiveSpilled()
    // A long list of buffers costs the kernel more than a small packet does: it gets as many as packets took lately.
    const pieces = Math.min(this.expected, room.count)
    const size = room.sizeOf(pieces)
    // The kernel cuts a packet silently where the list ends, so there is always room for the largest.
    const spills = size < LARGEST
    if (spills) room.replace(pieces, this.spill.pointer + size, LARGEST - size)
    const count = this.read(pieces + (spills ? 1 : 0))
    if (spills) room.restore()
    if (count > size) return this.takeSpill(count, size)
    if (count > 0 && this.expected > FEW_PIECES) this.expected--
    return count
  }

  /** A packet of `count` bytes, of which the first `size` are in their places. */
  private takeSpill(count: number, size: number): number {
    const { room, spill } = this
    if (count > room.size) {
      // Its start goes in front of the rest, so that it is one piece.
      room.copyOut(spill.pointer, size)
      this.spilled = count
      return TOO_LARGE
    }
    room.copyIn(spill.pointer + size, count - size, size)
    while (this.expected < room.count && room.sizeOf(this.expected) < count) this.expected *= 2
    return count
  }

  private read(entries: number): number {
    for (;;) {
      const count = libc.readv(this.fd, this.room.pointer, entries) as number
      if (count >= HEADER_SIZE) return count
      // Shorter than its header: not a packet, and nothing that the kernel gives.
      if (count >= 0) return WOULD_BLOCK
      const error = errno()
      if (error === EAGAIN) return WOULD_BLOCK
      if (error !== EINTR) return FAILED
    }
  }

  discard(): void {
    this.spilled = 0
  }

  send(packet: Extents): number {
    const iovecs = this.packet
    iovecs.clear()
    iovecs.appendMemory(this.headerBuffer.pointer, HEADER_SIZE)
    if (!iovecs.append(packet, HEADER_SIZE)) return FAILED
    for (;;) {
      if ((libc.writev(this.fd, iovecs.pointer, iovecs.count) as number) >= 0) return 0
      const error = errno()
      if (error === EAGAIN) return WOULD_BLOCK
      if (error !== EINTR) return FAILED
    }
  }

  private receiveSpilled(): number {
    const size = this.spilled
    if (size > this.room.size) return TOO_LARGE
    this.room.copyIn(this.spill.pointer, size)
    this.spilled = 0
    return size
  }
}

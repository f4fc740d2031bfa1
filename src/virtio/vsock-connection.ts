/**
 * One vsock connection: its state and the flow control in both directions. VIRTIO 1.2 §5.10.6.3.
 *
 * What the device has to send is a set of flags, not a queue, so it takes no room however long the guest waits with
 * receive buffers. All counters wrap at 2^32.
 */
import type { Extents } from '../memory/extents.ts'
import {
  HEADER_SIZE,
  SHUTDOWN_BOTH,
  VIRTIO_VSOCK_OP_CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_OP_SHUTDOWN,
  VIRTIO_VSOCK_SHUTDOWN_RCV,
  VIRTIO_VSOCK_SHUTDOWN_SEND,
  type VsockHeader,
} from './vsock-packet.ts'
import { type VsockStream, type VsockStreamEvents, WINDOW_BYTES } from './vsock-stream.ts'

/** The guest hears of freed room when it is this much, unless it asks. */
const UPDATE_BYTES = WINDOW_BYTES / 2

/** Packets without data that are to be sent; masks. */
const Owed = { request: 0x01, response: 0x02, creditUpdate: 0x04, reset: 0x08 } as const

/** `requested`: by the host, and the guest has not answered; `dead`: exists until its RST is sent. */
type State = 'requested' | 'open' | 'dead'

/** Called when a connection has something to send. */
export type WakeConnection = (connection: VsockConnection) => void

/** One connection. */
export class VsockConnection implements VsockStreamEvents {
  /** Whether it waits in the device's list of those that have something to send. */
  isQueued = false
  private state: State
  private owed: number
  /** The guest's receive buffer, as it last said. */
  private peerBufAlloc = 0
  private peerFwdCnt = 0
  /** Bytes sent to the guest. */
  private sent = 0
  /** Bytes that came from the guest. */
  private received = 0
  /** `fwd_cnt` as the guest knows it. */
  private toldForwarded = 0
  /** The stream may have bytes, or its end. */
  private isReadable = false
  private hasAskedForCredit = false
  /** SHUTDOWN flags of either side; `told`: as the guest knows ours. */
  private guestShutdown = 0
  private hostShutdown = 0
  private toldShutdown = 0

  constructor(
    readonly hostPort: number,
    readonly guestPort: number,
    private readonly stream: VsockStream,
    initiator: 'guest' | 'host',
    private readonly wake: WakeConnection,
  ) {
    this.state = initiator === 'guest' ? 'open' : 'requested'
    this.owed = initiator === 'guest' ? Owed.response : Owed.request
    stream.events = this
  }

  get isDead(): boolean {
    return this.state === 'dead'
  }

  /**
   * Takes a packet of the guest's whose payload is the `HEADER_SIZE`th byte of `packet` and what follows.
   * False when the connection ends without another word, by RST.
   */
  take(header: VsockHeader, packet: Extents): boolean {
    if (header.op === VIRTIO_VSOCK_OP_RST) {
      this.drop()
      return false
    }
    if (this.state === 'dead') return true
    this.setCredit(header)
    switch (header.op) {
      case VIRTIO_VSOCK_OP_RESPONSE:
        this.accepted()
        break
      case VIRTIO_VSOCK_OP_SHUTDOWN:
        this.shutDown(header.flags & SHUTDOWN_BOTH)
        break
      case VIRTIO_VSOCK_OP_RW:
        this.takeData(header.len, packet)
        break
      case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break
      case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        this.owed |= Owed.creditUpdate
        break
      default:
        // A second REQUEST, and what the specification does not know.
        this.kill()
    }
    this.wake(this)
    return true
  }

  /** Takes the guest's credit from a packet. */
  setCredit(header: VsockHeader): void {
    this.peerBufAlloc = header.bufAlloc
    this.peerFwdCnt = header.fwdCnt
    if (this.credit > 0) this.hasAskedForCredit = false
  }

  /** Ends the connection with an RST. */
  kill(): void {
    if (this.state === 'dead') return
    this.stream.abort()
    this.die()
  }

  /** Ends the connection without a word to the guest, which has none either, or has gone. */
  drop(): void {
    this.owed = 0
    if (this.state === 'dead') return
    // §5.10.6.5: after a shutdown the guest has said all, and what it said still goes to the host.
    if ((this.guestShutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) !== 0) this.stream.close()
    else this.stream.abort()
    this.state = 'dead'
  }

  /** Whether there is something to send, or there may be. */
  get isWaiting(): boolean {
    if (this.owed !== 0) return true
    if (this.state !== 'open') return false
    if (this.hostShutdown !== this.toldShutdown) return true
    return this.isReadable && (this.credit > 0 || !this.hasAskedForCredit)
  }

  /**
   * Composes the next packet, with its payload in `target` from `HEADER_SIZE` on (there is room for some); everything
   * of `header` but context ids and type. Returns the payload's size, undefined when there is nothing to send after all.
   */
  fill(header: VsockHeader, target: Extents): number | undefined {
    header.flags = 0
    let size: number | undefined = 0
    if (this.settle(Owed.reset)) header.op = VIRTIO_VSOCK_OP_RST
    else if (this.settle(Owed.request)) header.op = VIRTIO_VSOCK_OP_REQUEST
    else if (this.settle(Owed.response)) header.op = VIRTIO_VSOCK_OP_RESPONSE
    else size = this.fillData(header, target) ?? this.fillNotice(header)
    if (size === undefined) return undefined
    header.srcPort = this.hostPort
    header.dstPort = this.guestPort
    header.len = size
    header.bufAlloc = WINDOW_BYTES
    this.toldForwarded = this.stream.forwarded
    header.fwdCnt = this.toldForwarded
    // Every packet carries the credit.
    this.owed &= ~Owed.creditUpdate
    return size
  }

  readable(): void {
    if (this.state !== 'open' || (this.guestShutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) !== 0) return
    if ((this.hostShutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) !== 0) return
    this.isReadable = true
    this.wake(this)
  }

  forwarded(): void {
    if (this.state !== 'open' || (this.stream.forwarded - this.toldForwarded) >>> 0 < UPDATE_BYTES) return
    this.owed |= Owed.creditUpdate
    this.wake(this)
  }

  broken(): void {
    this.hostShutdown |= VIRTIO_VSOCK_SHUTDOWN_RCV
    this.wake(this)
  }

  hungUp(): void {
    this.broken()
    // Nobody waits for the guest's answer any more.
    if (this.state === 'requested') this.kill()
    else this.readable()
  }

  /** Bytes that the guest has room for. */
  private get credit(): number {
    const underWay = (this.sent - this.peerFwdCnt) >>> 0
    return underWay < this.peerBufAlloc ? this.peerBufAlloc - underWay : 0
  }

  private accepted(): void {
    if (this.state !== 'requested') {
      this.kill()
      return
    }
    this.state = 'open'
    this.isReadable = true
    this.stream.accept(this.hostPort)
  }

  private takeData(length: number, packet: Extents): void {
    const underWay = (this.received - this.stream.forwarded) >>> 0
    const isAllowed = this.state === 'open' && (this.guestShutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) === 0
    // §5.10.6.3: the guest knows the room there is.
    if (!isAllowed || underWay + length > WINDOW_BYTES || length > packet.size - HEADER_SIZE) {
      this.kill()
      return
    }
    this.received = (this.received + length) >>> 0
    this.stream.send(packet, HEADER_SIZE, length)
    this.forwarded()
  }

  private shutDown(flags: number): void {
    if (this.state !== 'open') {
      this.kill()
      return
    }
    const fresh = flags & ~this.guestShutdown
    this.guestShutdown |= flags
    if (this.guestShutdown === SHUTDOWN_BOTH) {
      // §5.10.6.5: RST says that all is done here; the stream ends by itself once the host has taken everything.
      this.stream.close()
      this.die()
      return
    }
    if ((fresh & VIRTIO_VSOCK_SHUTDOWN_SEND) !== 0) this.stream.finishSending()
    if ((fresh & VIRTIO_VSOCK_SHUTDOWN_RCV) !== 0) {
      this.isReadable = false
      this.stream.stopReceiving()
    }
  }

  private die(): void {
    this.state = 'dead'
    this.owed = Owed.reset
    this.wake(this)
  }

  private settle(packet: number): boolean {
    if ((this.owed & packet) === 0) return false
    this.owed &= ~packet
    return true
  }

  /** Data, or a question for room to put it. */
  private fillData(header: VsockHeader, target: Extents): number | undefined {
    if (this.state !== 'open' || !this.isReadable) return undefined
    const { credit } = this
    if (credit === 0) {
      if (this.hasAskedForCredit) return undefined
      this.hasAskedForCredit = true
      header.op = VIRTIO_VSOCK_OP_CREDIT_REQUEST
      return 0
    }
    const room = Math.min(target.size - HEADER_SIZE, credit)
    const count = this.stream.receive(target, HEADER_SIZE, room)
    if (count > 0) {
      this.sent = (this.sent + count) >>> 0
      header.op = VIRTIO_VSOCK_OP_RW
      return count
    }
    this.isReadable = false
    if (count < 0) this.hostShutdown |= VIRTIO_VSOCK_SHUTDOWN_SEND
    return undefined
  }

  private fillNotice(header: VsockHeader): number | undefined {
    if (this.state === 'open' && this.hostShutdown !== this.toldShutdown) {
      this.toldShutdown = this.hostShutdown
      header.op = VIRTIO_VSOCK_OP_SHUTDOWN
      header.flags = this.hostShutdown
      return 0
    }
    if (!this.settle(Owed.creditUpdate)) return undefined
    header.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE
    return 0
  }
}

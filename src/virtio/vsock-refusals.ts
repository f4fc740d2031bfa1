/** RST packets for what belongs to no connection, until the guest has receive buffers for them. A bounded queue. */
import { VIRTIO_VSOCK_OP_RST, type VsockHeader } from './vsock-packet.ts'

/** A device that cannot send stops taking packets at this many. */
const CAPACITY = 128
/** Numbers per entry: context id (two halves) and port that the refused packet was for, its own port, its type. */
const FIELDS = 5

/** What the device refuses. */
export class VsockRefusals {
  private readonly entries = new Uint32Array(CAPACITY * FIELDS)
  private first = 0
  private count = 0

  get isEmpty(): boolean {
    return this.count === 0
  }

  get isFull(): boolean {
    return this.count === CAPACITY
  }

  /** Refuses a packet; there is room. An RST is never answered. */
  add(packet: VsockHeader): void {
    if (packet.op === VIRTIO_VSOCK_OP_RST) return
    const at = ((this.first + this.count) % CAPACITY) * FIELDS
    this.entries[at] = packet.dstCid
    this.entries[at + 1] = packet.dstCidHigh
    this.entries[at + 2] = packet.dstPort
    this.entries[at + 3] = packet.srcPort
    this.entries[at + 4] = packet.type
    this.count++
  }

  /** Turns the oldest one into a packet; everything of `header` but the destination's context id. */
  take(header: VsockHeader): void {
    const at = this.first * FIELDS
    header.bytes.fill(0)
    header.srcCid = this.entries[at] as number
    header.srcCidHigh = this.entries[at + 1] as number
    header.srcPort = this.entries[at + 2] as number
    header.dstPort = this.entries[at + 3] as number
    header.type = this.entries[at + 4] as number
    header.op = VIRTIO_VSOCK_OP_RST
    this.first = (this.first + 1) % CAPACITY
    this.count--
  }

  clear(): void {
    this.count = 0
  }
}

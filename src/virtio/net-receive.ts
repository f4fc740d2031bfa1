/**
 * A receive queue: packets go from the port straight to the driver's buffers. VIRTIO 1.2 §5.1.6.3 and §5.1.6.4.
 *
 * Chains are popped ahead of the packets, as the next packet's size is not known, and stay popped from one packet to
 * the next: what a packet does not need serves the following one. They are given back when translations change.
 */
import type { NetCounters } from './net-counters.ts'
import { FILTERED_BYTES, type NetFilter } from './net-filter.ts'
import { HEADER_SIZE, Header, MAX_PACKET } from './net-header.ts'
import { FAILED, type NetPort, TOO_LARGE, WOULD_BLOCK } from './net-port.ts'
import { Chain, type VirtQueue } from './queue.ts'

/** Packets in one go; then the other devices have their turn. */
const BUDGET = 64
/** With mergeable buffers: room for any packet. */
const FULL_ROOM = HEADER_SIZE + MAX_PACKET
/** The most chains that are popped ahead; a power of two. */
const MAX_CHAINS = 256

/** What was negotiated, as far as it concerns receiving. */
export interface ReceiveMode {
  /** VIRTIO_NET_F_MRG_RXBUF: a packet may take several chains. */
  readonly mergeable: boolean
  /** The port's header goes to the driver as it is; otherwise it is all zero. */
  readonly keepsHeader: boolean
}

/** The device's end of one receive queue. */
export class NetReceiver {
  /** Popped chains, a ring of `count` from `first` on. */
  private readonly chains: Chain[] = []
  private first = 0
  private count = 0
  /** Bytes and extents of them. */
  private room = 0
  private pieces = 0
  /** DmaSpace.version that they were translated with. */
  private version = 0
  private queue: VirtQueue | undefined
  private mode: ReceiveMode = { mergeable: false, keepsHeader: false }
  /** Notifications are on: the driver's next buffers are waited for. */
  private waiting = false
  /** Room there was when a packet was too large for it. */
  private shortRoom = 0
  private readonly headerBytes = new Uint8Array(HEADER_SIZE)
  private readonly frameBytes = new Uint8Array(FILTERED_BYTES)
  private readonly frameView = new DataView(this.frameBytes.buffer)

  constructor(
    private readonly port: NetPort,
    private readonly filter: NetFilter,
    private readonly counters: NetCounters,
    private readonly log: (message: string) => void,
  ) {}

  /** Serves `queue` until `stop`. */
  start(queue: VirtQueue, mode: ReceiveMode): void {
    this.queue = queue
    this.mode = mode
    this.version = queue.space.version
    this.waiting = false
    this.shortRoom = 0
    queue.suppressNotifications()
  }

  /** Forgets the queue and its buffers, as they are being reset. */
  stop(): void {
    this.queue = undefined
    this.forget()
  }

  /** Stops using the queue, which stays: its unused buffers go back. */
  release(): void {
    if (this.queue !== undefined) this.giveBack(this.queue)
    this.stop()
  }

  get index(): number | undefined {
    return this.queue?.index
  }

  get isStarted(): boolean {
    return this.queue !== undefined
  }

  /** Receives what is there, up to a bound; true when there may be more. */
  run(): boolean {
    const { queue } = this
    if (queue === undefined) return false
    if (this.version !== queue.space.version) this.giveBack(queue)
    for (let i = 0; i < BUDGET; i++) {
      if (!this.fill(queue)) return this.pause(queue)
      const size = this.port.receive()
      if (size === TOO_LARGE) {
        if (!this.waitForRoom(queue)) return this.pause(queue)
      } else if (size === WOULD_BLOCK || size === FAILED) return this.pause(queue)
      else this.deliver(queue, size)
    }
    queue.flush()
    return true
  }

  private pause(queue: VirtQueue): false {
    queue.flush()
    return false
  }

  /** Makes room for a packet; false, and notifications on, when there is no chain at all. */
  private fill(queue: VirtQueue): boolean {
    this.popMany(queue)
    if (this.count > 0) {
      if (this.waiting && this.shortRoom === 0) this.stopWaiting(queue)
      return true
    }
    if (!this.waiting) {
      this.waiting = true
      this.counters.rxStarved++
    }
    if (!queue.requestNotifications()) return false
    // A buffer came just before notifications were on.
    this.popMany(queue)
    return this.count > 0
  }

  /** Pops chains until any packet fits, or there are no more. */
  private popMany(queue: VirtQueue): void {
    const wanted = this.mode.mergeable ? FULL_ROOM : 1
    // Bounded, as a driver may give unusable buffers back for ever.
    for (let turns = 0; this.room < wanted && turns < queue.size; turns++) if (!this.popOne(queue)) return
  }

  private stopWaiting(queue: VirtQueue): void {
    this.waiting = false
    queue.suppressNotifications()
  }

  /** False when there is no chain, or no room for one. */
  private popOne(queue: VirtQueue): boolean {
    if (this.count === MAX_CHAINS) return false
    const at = (this.first + this.count) & (MAX_CHAINS - 1)
    let chain = this.chains[at]
    if (chain === undefined) {
      chain = new Chain(queue.space)
      this.chains[at] = chain
    }
    if (!queue.pop(chain)) return false
    const { writable } = chain
    // §5.1.6.3.1: a buffer has room for the header at least.
    if (writable.size < HEADER_SIZE) {
      if (this.count > 0) {
        // Only the last popped chains can be given back later, so nothing is used behind those that are held.
        queue.rewind(1)
        return false
      }
      this.log(`a receive buffer of ${writable.size} bytes has no room for the header`)
      queue.push(chain, 0)
      return true
    }
    if (!this.port.addRoom(writable)) {
      if (this.count > 0) {
        queue.rewind(1)
        return false
      }
      this.log(`a receive buffer in ${writable.count} pieces cannot be used`)
      queue.push(chain, 0)
      return true
    }
    this.count++
    this.room += writable.size
    this.pieces += writable.count
    return true
  }

  /** A packet does not fit: true to go on (dropped, or more room came), false to wait for the driver. */
  private waitForRoom(queue: VirtQueue): boolean {
    const isAll = !this.mode.mergeable || this.count >= queue.size || this.pieces >= queue.size
    if (isAll || this.room <= this.shortRoom) return this.drop()
    this.waiting = true
    if (queue.requestNotifications()) return this.popOne(queue) || this.drop()
    this.shortRoom = this.room
    return false
  }

  private drop(): true {
    this.port.discard()
    this.counters.rxDropped++
    this.shortRoom = 0
    return true
  }

  private deliver(queue: VirtQueue, size: number): void {
    const head = this.chains[this.first] as Chain
    if (!this.filter.isOpen && !this.wants(head, size)) {
      this.counters.rxFiltered++
      return
    }
    let buffers = 0
    for (let rest = size; rest > 0; buffers++) rest -= this.chain(buffers).writable.size
    this.finishHeader(head, buffers)
    let rest = size
    let pieces = 0
    for (let i = 0; i < buffers; i++) {
      const chain = this.chain(i)
      const room = chain.writable.size
      queue.push(chain, rest < room ? rest : room)
      rest -= room
      pieces += chain.writable.count
      this.room -= room
    }
    this.port.takeRoom(pieces)
    this.pieces -= pieces
    this.first = (this.first + buffers) & (MAX_CHAINS - 1)
    this.count -= buffers
    this.shortRoom = 0
    this.counters.rxPackets++
    this.counters.rxBytes += size - HEADER_SIZE
  }

  private chain(index: number): Chain {
    return this.chains[(this.first + index) & (MAX_CHAINS - 1)] as Chain
  }

  /** §5.1.6.4.1: without offloads the header is zero but for num_buffers, which the port leaves to us. */
  private finishHeader({ writable }: Chain, buffers: number): void {
    const { memory } = writable
    const start = writable.start(0)
    if (writable.length(0) >= HEADER_SIZE) {
      const view = memory.viewAt(start)
      const at = memory.offsetAt(start)
      if (!this.mode.keepsHeader) {
        view.setUint32(at, 0, true)
        view.setUint32(at + 4, 0, true)
        view.setUint16(at + 8, 0, true)
      }
      view.setUint16(at + Header.numBuffers, buffers, true)
      return
    }
    if (this.mode.keepsHeader) writable.read(0, this.headerBytes)
    else this.headerBytes.fill(0)
    this.headerBytes[Header.numBuffers] = buffers & 0xff
    this.headerBytes[Header.numBuffers + 1] = buffers >>> 8
    writable.write(0, this.headerBytes)
  }

  private wants({ writable }: Chain, size: number): boolean {
    const { memory } = writable
    const start = writable.start(0)
    if (writable.length(0) >= HEADER_SIZE + FILTERED_BYTES)
      return this.filter.accepts(memory.viewAt(start), memory.offsetAt(start) + HEADER_SIZE, size - HEADER_SIZE)
    // A frame's start in several buffers or pieces.
    let at = 0
    for (let i = 0, skip = HEADER_SIZE; i < this.count && at < FILTERED_BYTES; i++, skip = 0)
      at += this.chain(i).writable.read(skip, this.frameBytes, at)
    return this.filter.accepts(this.frameView, 0, Math.min(at, size - HEADER_SIZE))
  }

  /** Unused chains go back, so that they are translated anew. */
  private giveBack(queue: VirtQueue): void {
    const { count } = this
    this.forget()
    if (count > 0) queue.rewind(count)
    this.version = queue.space.version
  }

  private forget(): void {
    this.port.clearRoom()
    this.first = 0
    this.count = 0
    this.room = 0
    this.pieces = 0
  }
}

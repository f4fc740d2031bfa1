/**
 * The split virtqueue, device side. VIRTIO 1.2 §2.7. No transport and no thread: whoever owns it calls it.
 *
 * Three areas: the descriptor table, the available ring (written by the driver) and the used ring (written here).
 * Indexes run freely from 0 to 65535; entry i is at i modulo the size, a power of two.
 *
 * Order of memory accesses. `Atomics` are sequentially consistent, and plain accesses do not move across them:
 *   - the load of avail.idx comes before the loads of the ring entries and descriptors that it covers;
 *   - the stores of used elements come before the store of used.idx that publishes them;
 *   - the store of used.idx comes before the load of used_event or flags (else both sides could miss each other);
 *   - the store of avail_event or flags comes before the load of avail.idx that looks for what came meanwhile.
 */
import { assert } from '../base/errors.ts'
import { Access, type DmaSpace, type DmaUser } from '../memory/dma-space.ts'
import { ChainBuilder } from './chain-builder.ts'
import { IndirectTable } from './indirect-table.ts'
import { PoppedChains } from './popped-chains.ts'
import { Chain, type QueueAreas, type VirtQueue } from './queue.ts'
import { DESC_SIZE, type QueueOptions, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT } from './ring.ts'
import { RingArea } from './ring-area.ts'

/** In avail.flags: the driver wants no interrupt (§2.7.7). */
const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
/** In used.flags: the device wants no notification (§2.7.10). */
const VIRTQ_USED_F_NO_NOTIFY = 1

/** Offsets in the available and in the used ring. */
const FLAGS = 0
const IDX = 2
const RING = 4
const USED_ELEM_SIZE = 8

/** One split virtqueue. */
export class SplitQueue implements VirtQueue, DmaUser {
  readonly index: number
  readonly size: number
  readonly space: DmaSpace
  readonly areas: QueueAreas
  readonly isPacked = false
  private readonly mask: number
  private readonly eventIdx: boolean
  private readonly indirect: boolean
  private readonly sendInterrupt: () => void
  private readonly isPolled: () => boolean
  private readonly onBroken: (reason: string) => void
  private readonly desc: RingArea
  private readonly avail: RingArea
  private readonly used: RingArea
  private readonly builder: ChainBuilder
  private readonly table: IndirectTable
  /** Undefined where nobody asks for it. */
  private readonly chains: PoppedChains | undefined
  private mapped = false
  private version = 0
  private broken = false
  /** Index of the available entry that `pop` takes next. */
  private nextAvail: number
  /** The driver's index as last read. */
  private availIdx: number
  /** Index of the used entry that `push` writes next. */
  private nextUsed: number
  /** The index in the used ring, as the driver sees it. */
  private usedIdx: number
  /** Chains popped and not pushed. */
  private inFlight = 0
  /** Chains that were given back and not popped again. */
  private rewound = 0

  constructor(options: QueueOptions) {
    const { index, size, space, areas, eventIdx, start = 0 } = options
    this.index = index
    this.size = size
    this.space = space
    this.areas = areas
    this.mask = size - 1
    this.eventIdx = eventIdx
    this.indirect = options.indirect
    this.sendInterrupt = options.interrupt
    this.isPolled = options.isPolled ?? (() => false)
    this.onBroken = options.onBroken
    // used_event and avail_event follow the rings.
    const tail = eventIdx ? 2 : 0
    this.desc = new RingArea('descriptor table', areas.desc, size * DESC_SIZE, 16, Access.read)
    this.avail = new RingArea('available ring', areas.driver, RING + 2 * size + tail, 2, Access.read)
    this.used = new RingArea('used ring', areas.device, RING + USED_ELEM_SIZE * size + tail, 4, Access.write)
    this.builder = new ChainBuilder(space, new Chain(space))
    this.table = new IndirectTable(space, size)
    this.chains = space.isRevocable ? new PoppedChains() : undefined
    this.nextAvail = start
    this.availIdx = start
    this.nextUsed = start
    this.usedIdx = start
    space.addUser(this)
  }

  pop(chain: Chain): boolean {
    if (!this.ready()) return false
    const next = this.nextAvail
    if (next === this.availIdx && !this.lookForMore()) return false
    // Each chain takes at least one descriptor, so a driver that keeps the rules cannot have more of them.
    if (this.inFlight >= this.size) return this.breakQueue('more chains are in use than the queue has entries')
    const { avail } = this
    const at = avail.at(RING + 2 * (next & this.mask))
    const head = avail.view.getUint16(at, true)
    this.builder.begin(chain)
    chain.id = head
    if (!this.walk(head)) {
      chain.readable.clear()
      chain.writable.clear()
      return false
    }
    this.nextAvail = (next + 1) & 0xffff
    this.inFlight++
    this.chains?.add(chain, this.version)
    if (this.rewound > 0) this.rewound--
    return true
  }

  /**
   * Takes the chain at `head`, whatever the available ring says about it: one that was taken before, by a back end that
   * is gone. False when it is malformed.
   */
  take(head: number, chain: Chain): boolean {
    if (!this.ready()) return false
    this.builder.begin(chain)
    chain.id = head
    if (!this.walk(head)) return false
    this.inFlight++
    this.chains?.add(chain, this.version)
    return true
  }

  rewind(count: number): void {
    assert(count <= this.inFlight, 'only popped chains are given back')
    this.nextAvail = (this.nextAvail - count) & 0xffff
    this.inFlight -= count
    this.chains?.rewind(count)
    this.rewound += count
  }

  push(chain: Chain, written: number): void {
    this.chains?.remove(chain)
    if (!this.ready()) return
    assert(this.inFlight > 0, 'only popped chains are pushed')
    this.inFlight--
    const { used } = this
    const element = RING + USED_ELEM_SIZE * (this.nextUsed & this.mask)
    const idAt = used.at(element)
    used.view.setUint32(idAt, chain.id, true)
    const lengthAt = used.at(element + 4)
    used.view.setUint32(lengthAt, written, true)
    this.nextUsed = (this.nextUsed + 1) & 0xffff
  }

  flush(): void {
    const before = this.usedIdx
    const now = this.nextUsed
    if (before === now || !this.ready()) return
    this.usedIdx = now
    const { used, avail } = this
    const idxAt = used.at(IDX)
    Atomics.store(used.halves, idxAt >>> 1, now)
    if (this.eventIdx) {
      const eventAt = avail.at(RING + 2 * this.size)
      const event = Atomics.load(avail.halves, eventAt >>> 1)
      // §2.7.7.2: only if the entry at used_event is among those just published.
      if (((now - event - 1) & 0xffff) < ((now - before) & 0xffff)) this.sendInterrupt()
    } else {
      const flagsAt = avail.at(FLAGS)
      if ((Atomics.load(avail.halves, flagsAt >>> 1) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0) this.sendInterrupt()
    }
  }

  interrupt(): void {
    if (!this.broken) this.sendInterrupt()
  }

  suppressNotifications(): void {
    // With EVENT_IDX an avail_event that is left behind suppresses by itself.
    if (!this.eventIdx && this.ready()) this.storeUsedFlags(VIRTQ_USED_F_NO_NOTIFY)
  }

  requestNotifications(): boolean {
    if (!this.isPolled()) return this.armNotifications()
    this.suppressNotifications()
    return this.hasNew
  }

  armNotifications(): boolean {
    if (!this.ready()) return false
    const unseen = this.unseen()
    if (this.eventIdx) {
      const { used } = this
      const eventAt = used.at(RING + USED_ELEM_SIZE * this.size)
      Atomics.store(used.halves, eventAt >>> 1, unseen)
    } else this.storeUsedFlags(0)
    return this.loadAvailIdx() !== unseen
  }

  get hasNew(): boolean {
    return this.ready() && this.loadAvailIdx() !== this.unseen()
  }

  get hasAvailable(): boolean {
    return this.ready() && (this.nextAvail !== this.availIdx || this.lookForMore())
  }

  get isBroken(): boolean {
    return this.broken
  }

  close(): void {
    this.broken = true
    this.mapped = false
    this.space.removeUser(this)
  }

  keeps(start: number, end: number): boolean {
    if (this.mapped && this.areasOverlap(start, end)) return true
    return this.chains?.overlap(start, end) === true
  }

  isBusy(start: number, end: number): boolean {
    return this.chains?.hasOutdated(start, end, this.space.version) === true
  }

  /** Whether the queue can be used; translates its areas where that is due. */
  private ready(): boolean {
    return this.mapped && this.version === this.space.version ? !this.broken : this.map()
  }

  private map(): boolean {
    if (this.broken) return false
    // Taken before translating, so that a change meanwhile is noticed next time.
    this.version = this.space.version
    const { size, mask } = this
    // §2.7: the size is a power of two, at most 32768.
    if (size < 1 || size > 32768 || (size & mask) !== 0) return this.breakQueue(`queue size ${size} is not possible`)
    const problem = this.desc.map(this.space) ?? this.avail.map(this.space) ?? this.used.map(this.space)
    if (problem !== undefined) return this.breakQueue(problem)
    this.mapped = true
    return true
  }

  private areasOverlap(start: number, end: number): boolean {
    return this.desc.overlaps(start, end) || this.avail.overlaps(start, end) || this.used.overlaps(start, end)
  }

  private breakQueue(reason: string): false {
    this.broken = true
    this.mapped = false
    this.onBroken(`queue ${this.index}: ${reason}`)
    return false
  }

  /** Index of the first entry not seen yet: what was given back is known, so the wish is for what comes behind it. */
  private unseen(): number {
    return (this.nextAvail + this.rewound) & 0xffff
  }

  private loadAvailIdx(): number {
    const { avail } = this
    const at = avail.at(IDX)
    return Atomics.load(avail.halves, at >>> 1)
  }

  /** Reads the driver's index; whether there is something new. */
  private lookForMore(): boolean {
    const idx = this.loadAvailIdx()
    const count = (idx - this.nextAvail) & 0xffff
    if (count === 0) return false
    if (count > this.size) return this.breakQueue(`the available index jumps by ${count}`)
    this.availIdx = idx
    return true
  }

  private storeUsedFlags(flags: number): void {
    const { used } = this
    const at = used.at(FLAGS)
    Atomics.store(used.halves, at >>> 1, flags)
  }

  /** Follows a chain in the descriptor table. */
  private walk(head: number): boolean {
    const { desc, builder, size } = this
    let index = head
    for (let count = 0; count < size; count++) {
      if (index >= size) return this.breakQueue(`descriptor ${index} is not in the table`)
      const at = desc.at(index * DESC_SIZE)
      const view = desc.view
      const low = view.getUint32(at, true)
      const high = view.getUint32(at + 4, true)
      const length = view.getUint32(at + 8, true)
      const flagsAndNext = view.getUint32(at + 12, true)
      if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) !== 0) return this.walkTable(low, high, length, flagsAndNext)
      if (!builder.add(low, high, length, flagsAndNext)) return this.breakQueue(builder.problem)
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return true
      index = flagsAndNext >>> 16
    }
    return this.breakQueue('a chain loops or is longer than the queue')
  }

  /** Follows a chain through an indirect table, whose descriptor ends the direct part. §2.7.5.3. */
  private walkTable(low: number, high: number, bytes: number, flags: number): boolean {
    const { table, builder } = this
    if (!this.indirect) return this.breakQueue('an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    // §2.7.5.3.1. The table descriptor's own WRITE flag is to be ignored (§2.7.5.3.2).
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return this.breakQueue('an indirect descriptor with a next one')
    const problem = table.open(low, high, bytes)
    if (problem !== undefined) return this.breakQueue(problem)
    const { entries } = table
    let index = 0
    for (let count = 0; count < entries; count++) {
      if (index >= entries) return this.breakQueue(`descriptor ${index} is not in the indirect table`)
      const at = table.at(index)
      const view = table.view
      const entryLow = view.getUint32(at, true)
      const entryHigh = view.getUint32(at + 4, true)
      const length = view.getUint32(at + 8, true)
      const flagsAndNext = view.getUint32(at + 12, true)
      if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) !== 0) return this.breakQueue('an indirect table in an indirect table')
      if (!builder.add(entryLow, entryHigh, length, flagsAndNext)) return this.breakQueue(builder.problem)
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return true
      index = flagsAndNext >>> 16
    }
    return this.breakQueue('a chain loops in its indirect table')
  }
}

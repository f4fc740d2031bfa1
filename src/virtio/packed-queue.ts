/**
 * The packed virtqueue, device side. VIRTIO 1.2 §2.8. No transport and no thread: whoever owns it calls it.
 *
 * One ring of descriptors that both sides write, and an event suppression structure for each direction. A chain takes
 * as many slots as it has descriptors; the device answers it with one descriptor at its own place and skips the rest.
 * Each side's wrap counter starts as 1 and turns at the end of the ring: a slot's flags match the counter or do not.
 *
 * Order of memory accesses. `Atomics` are sequentially consistent, and plain accesses do not move across them:
 *   - the load of the head's flags comes before the loads of the descriptors that it makes available;
 *   - a batch of used descriptors is written behind its first one, whose flags are stored last: the driver looks at
 *     that one only, so the whole batch appears at once;
 *   - that store comes before the load of the driver's event suppression (else both sides could miss each other);
 *   - the store of the device's event suppression comes before the load of flags that looks for what came meanwhile.
 */
import { assert } from '../base/errors.ts'
import { Access, type DmaSpace, type DmaUser } from '../memory/dma-space.ts'
import { ChainBuilder } from './chain-builder.ts'
import { IndirectTable } from './indirect-table.ts'
import { PoppedChains } from './popped-chains.ts'
import { Chain, type QueueAreas, type VirtQueue } from './queue.ts'
import { DESC_SIZE, type QueueOptions, VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from './ring.ts'
import { RingArea } from './ring-area.ts'

/** §2.8.1: what a slot's flags say about the wrap counters. */
const VIRTQ_DESC_F_AVAIL = 1 << 7
const VIRTQ_DESC_F_USED = 1 << 15
const AVAIL_AND_USED = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

/** Offsets in struct pvirtq_desc, §2.8.13. */
const LEN = 8
const ID = 12
const FLAGS = 14

/** struct pvirtq_event_suppress, §2.8.14, as one u32: the offset, its wrap counter at bit 15, the flags at bit 16. */
const EVENT_SIZE = 4
const RING_EVENT_FLAGS_ENABLE = 0x0
const RING_EVENT_FLAGS_DISABLE = 0x1
const RING_EVENT_FLAGS_DESC = 0x2
const EVENT_OFFSET = 0x7fff
const EVENT_WRAP_SHIFT = 15

/** One packed virtqueue. */
export class PackedQueue implements VirtQueue, DmaUser {
  readonly index: number
  readonly size: number
  readonly space: DmaSpace
  readonly areas: QueueAreas
  readonly isPacked = true
  private readonly eventIdx: boolean
  private readonly indirect: boolean
  private readonly sendInterrupt: () => void
  private readonly isPolled: () => boolean
  private readonly onBroken: (reason: string) => void
  private readonly ring: RingArea
  private readonly driverEvent: RingArea
  private readonly deviceEvent: RingArea
  private readonly builder: ChainBuilder
  private readonly table: IndirectTable
  /** Undefined where nobody asks for it. */
  private readonly chains: PoppedChains | undefined
  private mapped = false
  private version = 0
  private broken = false
  /** The slot that `pop` looks at next, and the driver's wrap counter there. */
  private nextAvail = 0
  private availWrap = 1
  /** The slot that `push` writes next, and the device's wrap counter there. */
  private nextUsed = 0
  private usedWrap = 1
  /** Slots from the first used descriptor that is not yet visible to `nextUsed`; where that one is, and its flags. */
  private batchSlots = 0
  private batchFirst = 0
  private batchFlags = 0
  /** Slots of the chains that were popped and not pushed. */
  private slotsInFlight = 0
  /** Slots of the chains that were given back and not popped again. */
  private slotsRewound = 0
  /** How many slots each of the last chains took, for `rewind`; the next one goes to `popped`. */
  private readonly history: Uint16Array
  private popped = 0

  constructor(options: QueueOptions) {
    const { index, size, space, areas } = options
    this.index = index
    this.size = size
    this.space = space
    this.areas = areas
    this.eventIdx = options.eventIdx
    this.indirect = options.indirect
    this.sendInterrupt = options.interrupt
    this.isPolled = options.isPolled ?? (() => false)
    this.onBroken = options.onBroken
    this.ring = new RingArea('descriptor ring', areas.desc, size * DESC_SIZE, 16, Access.read | Access.write)
    this.driverEvent = new RingArea('driver event area', areas.driver, EVENT_SIZE, 4, Access.read)
    this.deviceEvent = new RingArea('device event area', areas.device, EVENT_SIZE, 4, Access.write)
    this.builder = new ChainBuilder(space, new Chain(space))
    this.table = new IndirectTable(space, size)
    this.chains = space.isRevocable ? new PoppedChains() : undefined
    this.history = new Uint16Array(size)
    space.addUser(this)
  }

  pop(chain: Chain): boolean {
    if (!this.ready()) return false
    const flags = this.loadFlags(this.nextAvail)
    if (!isAvailable(flags, this.availWrap)) return false
    this.builder.begin(chain)
    if (!this.walk(chain, flags)) {
      chain.readable.clear()
      chain.writable.clear()
      return false
    }
    const { slots } = chain
    // A slot that the device holds is not the driver's to fill again.
    if (this.slotsInFlight + slots > this.size) return this.breakQueue('more descriptors are in use than the ring has')
    this.slotsInFlight += slots
    this.chains?.add(chain, this.version)
    this.slotsRewound = this.slotsRewound > slots ? this.slotsRewound - slots : 0
    this.history[this.popped] = slots
    this.popped = this.popped + 1 === this.size ? 0 : this.popped + 1
    this.nextAvail += slots
    if (this.nextAvail >= this.size) {
      this.nextAvail -= this.size
      this.availWrap ^= 1
    }
    return true
  }

  rewind(count: number): void {
    this.chains?.rewind(count)
    for (let i = 0; i < count; i++) {
      this.popped = (this.popped === 0 ? this.size : this.popped) - 1
      const slots = this.history[this.popped] as number
      assert(slots <= this.slotsInFlight, 'only popped chains are given back')
      this.slotsInFlight -= slots
      this.slotsRewound += slots
      this.nextAvail -= slots
      if (this.nextAvail < 0) {
        this.nextAvail += this.size
        this.availWrap ^= 1
      }
    }
  }

  push(chain: Chain, written: number): void {
    this.chains?.remove(chain)
    if (!this.ready()) return
    const { ring, nextUsed } = this
    const { slots } = chain
    assert(slots > 0 && slots <= this.slotsInFlight, 'only popped chains are pushed')
    this.slotsInFlight -= slots
    const at = ring.at(nextUsed * DESC_SIZE)
    ring.view.setUint32(at + LEN, written, true)
    ring.view.setUint16(at + ID, chain.id, true)
    // §2.8.3: without WRITE the driver ignores the length.
    const flags = (written > 0 ? VIRTQ_DESC_F_WRITE : 0) | (this.usedWrap === 1 ? AVAIL_AND_USED : 0)
    if (this.batchSlots === 0) {
      this.batchFirst = nextUsed
      this.batchFlags = flags
    } else ring.view.setUint16(at + FLAGS, flags, true)
    this.batchSlots += slots
    this.nextUsed = nextUsed + slots
    if (this.nextUsed >= this.size) {
      this.nextUsed -= this.size
      this.usedWrap ^= 1
    }
  }

  flush(): void {
    const slots = this.batchSlots
    if (slots === 0 || !this.ready()) return
    this.batchSlots = 0
    const { ring, driverEvent } = this
    const firstAt = ring.at(this.batchFirst * DESC_SIZE + FLAGS)
    Atomics.store(ring.halves, firstAt >>> 1, this.batchFlags)
    const eventAt = driverEvent.at(0)
    if (this.wantsInterrupt(Atomics.load(driverEvent.words, eventAt >>> 2), slots)) this.sendInterrupt()
  }

  interrupt(): void {
    if (!this.broken) this.sendInterrupt()
  }

  suppressNotifications(): void {
    if (this.ready()) this.storeEvent(RING_EVENT_FLAGS_DISABLE, 0)
  }

  requestNotifications(): boolean {
    if (!this.isPolled()) return this.armNotifications()
    this.suppressNotifications()
    return this.hasNew
  }

  armNotifications(): boolean {
    if (!this.ready()) return false
    if (this.eventIdx) this.storeEvent(RING_EVENT_FLAGS_DESC, this.unseen())
    else this.storeEvent(RING_EVENT_FLAGS_ENABLE, 0)
    return this.hasNew
  }

  get hasNew(): boolean {
    if (!this.ready()) return false
    const unseen = this.unseen()
    return isAvailable(this.loadFlags(unseen & EVENT_OFFSET), unseen >>> EVENT_WRAP_SHIFT)
  }

  get hasAvailable(): boolean {
    return this.ready() && isAvailable(this.loadFlags(this.nextAvail), this.availWrap)
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
    // §2.8: at most 2^15 entries, not necessarily a power of two.
    if (this.size < 1 || this.size > 32768) return this.breakQueue(`queue size ${this.size} is not possible`)
    const { ring, driverEvent, deviceEvent, space } = this
    const problem = ring.map(space) ?? driverEvent.map(space) ?? deviceEvent.map(space)
    if (problem !== undefined) return this.breakQueue(problem)
    this.mapped = true
    return true
  }

  private areasOverlap(start: number, end: number): boolean {
    return (
      this.ring.overlaps(start, end) || this.driverEvent.overlaps(start, end) || this.deviceEvent.overlaps(start, end)
    )
  }

  private breakQueue(reason: string): false {
    this.broken = true
    this.mapped = false
    this.onBroken(`queue ${this.index}: ${reason}`)
    return false
  }

  /**
   * The first slot not seen yet, with its wrap counter as in pvirtq_event_suppress: what was given back is known, so the
   * wish is for what comes behind it.
   */
  private unseen(): number {
    const slot = this.nextAvail + this.slotsRewound
    if (slot < this.size) return slot | (this.availWrap << EVENT_WRAP_SHIFT)
    return (slot - this.size) | ((this.availWrap ^ 1) << EVENT_WRAP_SHIFT)
  }

  private loadFlags(slot: number): number {
    const { ring } = this
    const at = ring.at(slot * DESC_SIZE + FLAGS)
    return Atomics.load(ring.halves, at >>> 1)
  }

  private storeEvent(flags: number, offset: number): void {
    const { deviceEvent } = this
    const at = deviceEvent.at(0)
    Atomics.store(deviceEvent.words, at >>> 2, (flags << 16) | offset)
  }

  /** Whether the driver wants to hear of the `slots` slots up to `nextUsed`. §2.8.10. */
  private wantsInterrupt(event: number, slots: number): boolean {
    const flags = (event >>> 16) & 3
    if (flags === RING_EVENT_FLAGS_DISABLE) return false
    if (flags !== RING_EVENT_FLAGS_DESC || !this.eventIdx) return true
    // In slots of the present lap: what another wrap counter says about lies in the lap before.
    const wrap = (event >>> EVENT_WRAP_SHIFT) & 1
    const slot = (event & 0x7fff) - (wrap === this.usedWrap ? 0 : this.size)
    return slot < this.nextUsed && slot >= this.nextUsed - slots
  }

  /** Follows the chain at `nextAvail`, whose head has `headFlags`. */
  private walk(chain: Chain, headFlags: number): boolean {
    const { ring, builder, size } = this
    let slot = this.nextAvail
    let flags = headFlags
    for (let count = 1; count <= size; count++) {
      const at = ring.at(slot * DESC_SIZE)
      const view = ring.view
      const low = view.getUint32(at, true)
      const high = view.getUint32(at + 4, true)
      const length = view.getUint32(at + LEN, true)
      const idAndFlags = view.getUint32(at + ID, true)
      // The head's were read before all else, and are not read twice.
      if (count > 1) flags = idAndFlags >>> 16
      if ((flags & VIRTQ_DESC_F_INDIRECT) !== 0) {
        // §2.8.19: an indirect descriptor is a chain of its own.
        if (count > 1 || (flags & VIRTQ_DESC_F_NEXT) !== 0)
          return this.breakQueue('an indirect descriptor is part of a list')
        if (!this.walkTable(low, high, length)) return false
      } else if (!builder.add(low, high, length, flags)) return this.breakQueue(builder.problem)
      if ((flags & VIRTQ_DESC_F_NEXT) === 0) {
        // §2.8.6: the last descriptor has the buffer's id.
        chain.id = idAndFlags & 0xffff
        chain.slots = count
        return true
      }
      slot = slot + 1 === size ? 0 : slot + 1
    }
    return this.breakQueue('a chain is longer than the queue')
  }

  /** Takes all descriptors of an indirect table; of their flags only WRITE counts. §2.8.7. */
  private walkTable(low: number, high: number, bytes: number): boolean {
    const { table, builder } = this
    if (!this.indirect) return this.breakQueue('an indirect descriptor without VIRTIO_F_INDIRECT_DESC')
    const problem = table.open(low, high, bytes)
    if (problem !== undefined) return this.breakQueue(problem)
    for (let index = 0; index < table.entries; index++) {
      const at = table.at(index)
      const view = table.view
      const entryLow = view.getUint32(at, true)
      const entryHigh = view.getUint32(at + 4, true)
      const length = view.getUint32(at + LEN, true)
      const flags = view.getUint16(at + FLAGS, true)
      if (!builder.add(entryLow, entryHigh, length, flags)) return this.breakQueue(builder.problem)
    }
    return true
  }
}

/** Whether flags say "available" at a place where the driver's wrap counter is `wrap`: AVAIL like it, USED not. */
function isAvailable(flags: number, wrap: number): boolean {
  return (flags & AVAIL_AND_USED) === (wrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED)
}

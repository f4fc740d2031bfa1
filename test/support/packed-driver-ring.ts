/** The driver's side of a packed virtqueue, VIRTIO 1.2 §2.8, with ways to write what no driver should. */
import type { QueueAreas } from '../../src/virtio/queue.ts'
import type { DriverMemory } from './driver-memory.ts'
import {
  type DriverBuffer,
  type DriverRing,
  type RawDescriptor,
  type UsedEntry,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from './driver-ring.ts'

const VIRTQ_DESC_F_AVAIL = 1 << 7
const VIRTQ_DESC_F_USED = 1 << 15
const RING_EVENT_FLAGS_ENABLE = 0
const RING_EVENT_FLAGS_DISABLE = 1
const RING_EVENT_FLAGS_DESC = 2

export class PackedDriverRing implements DriverRing {
  private readonly freeIds: number[]
  /** Slots of each chain by its id. */
  private readonly chains = new Map<number, number>()
  private freeSlots: number
  private nextAvail = 0
  private availWrap = 1
  private nextUsed = 0
  private usedWrap = 1
  private addedSinceKick = 0

  constructor(
    private readonly memory: DriverMemory,
    readonly size: number,
    readonly areas: QueueAreas,
    private readonly eventIdx: boolean,
  ) {
    this.freeSlots = size
    // Not in order, so that a device that confuses ids and slots is found out.
    this.freeIds = Array.from({ length: size }, (_, i) => size - 1 - i)
    memory.write(areas.desc, new Uint8Array(16 * size))
    memory.setU32(areas.device, 0)
    this.enableInterrupts()
  }

  /** Bytes of each area. */
  static areaSizes(size: number): QueueAreas {
    return { desc: 16 * size, driver: 4, device: 4 }
  }

  get free(): number {
    return this.freeSlots
  }

  add(buffers: readonly DriverBuffer[], table?: number): number {
    const id = this.freeIds.shift()
    const count = table === undefined ? buffers.length : 1
    if (id === undefined || count > this.freeSlots) throw new Error('the ring is full')
    this.freeSlots -= count
    this.chains.set(id, count)
    if (table === undefined) this.offer(buffers.map((buffer, i) => descriptor(buffer, i + 1 < buffers.length, id)))
    else {
      buffers.forEach((buffer, i) => {
        this.writeDescriptor(i, descriptor(buffer, false, 0), table)
      })
      this.offer([{ address: table, length: 16 * buffers.length, flags: VIRTQ_DESC_F_INDIRECT, next: id }])
    }
    return id
  }

  needsKick(): boolean {
    const added = this.addedSinceKick
    this.addedSinceKick = 0
    const event = this.deviceEvent
    if (event.flags === RING_EVENT_FLAGS_DISABLE) return false
    if (event.flags !== RING_EVENT_FLAGS_DESC) return true
    const slot = event.offset - (event.wrap === this.availWrap ? 0 : this.size)
    return slot < this.nextAvail && slot >= this.nextAvail - added
  }

  take(): UsedEntry | undefined {
    const at = this.areas.desc + 16 * this.nextUsed
    const flags = this.memory.getU16(at + 14)
    const both = this.usedWrap === 1 ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0
    if ((flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) !== both || this.chains.size === 0) return undefined
    const id = this.memory.getU16(at + 12)
    const slots = this.chains.get(id)
    if (slots === undefined) throw new Error(`the device used ${id}, which is no chain of the driver`)
    this.chains.delete(id)
    this.freeIds.push(id)
    this.freeSlots += slots
    this.nextUsed += slots
    if (this.nextUsed >= this.size) {
      this.nextUsed -= this.size
      this.usedWrap ^= 1
    }
    return { id, written: (flags & VIRTQ_DESC_F_WRITE) !== 0 ? this.memory.getU32(at + 8) : 0 }
  }

  disableInterrupts(): void {
    this.writeDriverEvent(RING_EVENT_FLAGS_DISABLE, 0, 0)
  }

  enableInterrupts(count = 1): void {
    if (!this.eventIdx) {
      this.writeDriverEvent(RING_EVENT_FLAGS_ENABLE, 0, 0)
      return
    }
    const slot = this.nextUsed + count - 1
    if (slot < this.size) this.writeDriverEvent(RING_EVENT_FLAGS_DESC, slot, this.usedWrap)
    else this.writeDriverEvent(RING_EVENT_FLAGS_DESC, slot - this.size, this.usedWrap ^ 1)
  }

  /** Writes the driver's event suppression structure. */
  writeDriverEvent(flags: number, offset: number, wrap: number): void {
    this.memory.setU32(this.areas.driver, ((flags << 16) | (wrap << 15) | offset) >>> 0)
  }

  /** Writes descriptor `index` of the ring, or of the table at `table`, with the flags as they are. */
  writeDescriptor(index: number, descriptor: RawDescriptor, table = this.areas.desc): void {
    const { address = 0, length = 0, flags = 0, next = 0 } = descriptor
    const at = table + 16 * index
    this.memory.setU64(at, address)
    this.memory.setU32(at + 8, length)
    this.memory.setU16(at + 12, next)
    this.memory.setU16(at + 14, flags)
  }

  /** Makes descriptors available as one chain, whatever they are; the flags for that are added. The first goes last. */
  offer(descriptors: readonly RawDescriptor[]): void {
    const placed = descriptors.map(descriptor => {
      const available = this.availWrap === 1 ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED
      const slot = this.nextAvail
      this.nextAvail = slot + 1 === this.size ? 0 : slot + 1
      if (this.nextAvail === 0) this.availWrap ^= 1
      return { slot, descriptor: { ...descriptor, flags: (descriptor.flags ?? 0) | available } }
    })
    for (const { slot, descriptor } of placed.toReversed()) this.writeDescriptor(slot, descriptor)
    this.addedSinceKick += placed.length
  }

  /** What the device wrote to its event suppression structure. */
  get deviceEvent(): { readonly flags: number; readonly offset: number; readonly wrap: number } {
    const word = this.memory.getU32(this.areas.device)
    return { flags: (word >>> 16) & 3, offset: word & 0x7fff, wrap: (word >>> 15) & 1 }
  }
}

function descriptor({ address, length, write }: DriverBuffer, more: boolean, id: number): RawDescriptor {
  return { address, length, flags: (write ? VIRTQ_DESC_F_WRITE : 0) | (more ? VIRTQ_DESC_F_NEXT : 0), next: id }
}

/** The driver's side of a split virtqueue, VIRTIO 1.2 §2.7, with ways to write what no driver should. */
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

export class SplitDriverRing implements DriverRing {
  private readonly freeDescriptors: number[]
  /** Descriptors of each chain by its head. */
  private readonly chains = new Map<number, readonly number[]>()
  private availIdx: number
  private kickedIdx: number
  private usedIdx: number

  constructor(
    private readonly memory: DriverMemory,
    readonly size: number,
    readonly areas: QueueAreas,
    private readonly eventIdx: boolean,
    start = 0,
  ) {
    this.freeDescriptors = Array.from({ length: size }, (_, i) => i)
    this.availIdx = start
    this.kickedIdx = start
    this.usedIdx = start
    memory.setU32(areas.driver, start << 16)
    memory.setU32(areas.device, start << 16)
    if (eventIdx) this.enableInterrupts()
  }

  /** Bytes of each area. */
  static areaSizes(size: number): QueueAreas {
    return { desc: 16 * size, driver: 6 + 2 * size, device: 6 + 8 * size }
  }

  get free(): number {
    return this.freeDescriptors.length
  }

  add(buffers: readonly DriverBuffer[], table?: number): number {
    const count = table === undefined ? buffers.length : 1
    if (count > this.free) throw new Error('the ring is full')
    const used = this.freeDescriptors.splice(0, count)
    const head = used[0] ?? 0
    if (table === undefined) this.writeChain(this.areas.desc, buffers, used)
    else {
      this.writeChain(
        table,
        buffers,
        buffers.map((_, i) => i),
      )
      this.writeDescriptor(head, { address: table, length: 16 * buffers.length, flags: VIRTQ_DESC_F_INDIRECT })
    }
    this.chains.set(head, used)
    this.offer(head)
    return head
  }

  needsKick(): boolean {
    const added = (this.availIdx - this.kickedIdx) & 0xffff
    const event = this.availEvent
    this.kickedIdx = this.availIdx
    if (!this.eventIdx) return (this.usedFlags & 1) === 0
    return ((this.availIdx - event - 1) & 0xffff) < added
  }

  take(): UsedEntry | undefined {
    if (this.publishedUsedIdx === this.usedIdx) return undefined
    const at = this.areas.device + 4 + 8 * (this.usedIdx % this.size)
    const id = this.memory.getU32(at)
    const chain = this.chains.get(id)
    if (chain === undefined) throw new Error(`the device used ${id}, which is no chain of the driver`)
    this.chains.delete(id)
    this.freeDescriptors.push(...chain)
    this.usedIdx = (this.usedIdx + 1) & 0xffff
    return { id, written: this.memory.getU32(at + 4) }
  }

  disableInterrupts(): void {
    // An event that lies behind does not come again for 65536 entries.
    if (this.eventIdx) this.memory.setU16(this.areas.driver + 4 + 2 * this.size, (this.usedIdx - 1) & 0xffff)
    else this.memory.setU16(this.areas.driver, 1)
  }

  enableInterrupts(count = 1): void {
    if (this.eventIdx) this.memory.setU16(this.areas.driver + 4 + 2 * this.size, (this.usedIdx + count - 1) & 0xffff)
    else this.memory.setU16(this.areas.driver, 0)
  }

  /** Writes descriptor `index` of the table, or of the one at `table`. */
  writeDescriptor(index: number, descriptor: RawDescriptor, table = this.areas.desc): void {
    const { address = 0, length = 0, flags = 0, next = 0 } = descriptor
    const at = table + 16 * index
    this.memory.setU64(at, address)
    this.memory.setU32(at + 8, length)
    this.memory.setU16(at + 12, flags)
    this.memory.setU16(at + 14, next)
  }

  /** Puts `head` in the available ring, whatever it is. */
  offer(head: number): void {
    this.memory.setU16(this.areas.driver + 4 + 2 * (this.availIdx % this.size), head)
    this.setAvailIdx(this.availIdx + 1)
  }

  /** Sets the available index, rightly or not. */
  setAvailIdx(idx: number): void {
    this.availIdx = idx & 0xffff
    this.memory.setU16(this.areas.driver + 2, this.availIdx)
  }

  /** What the device wrote to the used ring. */
  get publishedUsedIdx(): number {
    return this.memory.getU16(this.areas.device + 2)
  }

  get usedFlags(): number {
    return this.memory.getU16(this.areas.device)
  }

  get availEvent(): number {
    return this.eventIdx ? this.memory.getU16(this.areas.device + 4 + 8 * this.size) : 0
  }

  private writeChain(table: number, buffers: readonly DriverBuffer[], indexes: readonly number[]): void {
    buffers.forEach(({ address, length, write }, i) => {
      const next = indexes[i + 1]
      const flags = (write ? VIRTQ_DESC_F_WRITE : 0) | (next === undefined ? 0 : VIRTQ_DESC_F_NEXT)
      this.writeDescriptor(indexes[i] ?? 0, { address, length, flags, next: next ?? 0 }, table)
    })
  }
}

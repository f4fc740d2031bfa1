/**
 * A virtqueue with both ends: the driver's, which a test plays, and the device's, which it hands to a device. For a
 * whole device take `deviceHarness` (device-harness.ts), which has one of these for each queue.
 *
 * @example
 * const driver = new VirtioDriver({ packed: true })
 * const token = driver.add({ out: [Uint8Array.of(1, 2)], in: [16] })
 * driver.queue.pop(chain); chain.writable.write(0, answer); driver.queue.push(chain, answer.length); driver.queue.flush()
 * driver.poll() // { token, written: answer.length, in: [the first buffer's bytes] }
 */
import { type DmaSpace, IdentitySpace } from '../../src/memory/dma-space.ts'
import { PackedQueue } from '../../src/virtio/packed-queue.ts'
import type { QueueAreas, VirtQueue } from '../../src/virtio/queue.ts'
import { SplitQueue } from '../../src/virtio/split-queue.ts'
import { DriverMemory } from './driver-memory.ts'
import type { DriverBuffer, DriverRing } from './driver-ring.ts'
import { PackedDriverRing } from './packed-driver-ring.ts'
import { SplitDriverRing } from './split-driver-ring.ts'
import { type Place, VirtioMemory } from './virtio-memory.ts'

export interface VirtioDriverOptions {
  /** Shared between queues of a device; its own if absent. */
  readonly memory?: VirtioMemory
  /** What the device translates with; the identity if absent. The driver goes the same way, with access 0. */
  readonly space?: DmaSpace
  /** What the driver goes through instead: it is not behind the device's IOMMU. */
  readonly driverSpace?: DmaSpace
  readonly index?: number
  readonly size?: number
  readonly packed?: boolean
  readonly eventIdx?: boolean
  readonly indirect?: boolean
  /** Where the rings lie; allocated if absent. */
  readonly areas?: QueueAreas
  /** Split: both indexes at the start. */
  readonly start?: number
  /** The driver notifies the device. */
  readonly onKick?: () => void
  readonly onInterrupt?: () => void
  /** Whether a poller looks at the queue in the place of notifications. */
  readonly isPolled?: () => boolean
  readonly onBroken?: (reason: string) => void
}

/** A request: what the device reads, then how much it may write in which buffers. */
export interface DriverRequest {
  readonly out?: readonly Uint8Array[]
  readonly in?: readonly number[]
  /** Through an indirect table. */
  readonly indirect?: boolean
  /** Where the buffers go. 'crossing': the first of them lies in two windows of memory. */
  readonly place?: Place
}

/** A request that the device used. */
export interface Used {
  readonly token: number
  /** Bytes that the device says it wrote. */
  readonly written: number
  /** Each `in` buffer whole, 0xee where nothing was written. */
  readonly in: readonly Uint8Array[]
}

interface Pending {
  readonly token: number
  readonly buffers: readonly DriverBuffer[]
  readonly table: number | undefined
}

/** Fills `in` buffers beforehand: shows what a device wrote, and that it wrote no more. */
export const UNTOUCHED = 0xee

/** The driver of one queue. */
export class VirtioDriver {
  readonly memory: VirtioMemory
  readonly access: DriverMemory
  readonly space: DmaSpace
  readonly ring: DriverRing
  /** The layout's own type, for malformed descriptors; undefined for the other layout. */
  readonly split: SplitDriverRing | undefined
  readonly packed: PackedDriverRing | undefined
  /** The device's end. */
  readonly queue: VirtQueue
  /** Interrupts that the device sent. */
  interrupts = 0
  /** Notifications that the device wanted. */
  kicks = 0
  /** Why the queue broke: at most one entry, if the queue is right. */
  readonly broken: string[] = []
  private readonly pending = new Map<number, Pending>()
  private readonly onKick: () => void
  private nextToken = 0

  constructor(options: VirtioDriverOptions = {}) {
    const { index = 0, size = 16, packed = false, eventIdx = false, indirect = false, start = 0 } = options
    this.memory = options.memory ?? new VirtioMemory()
    this.space = options.space ?? new IdentitySpace(this.memory.memory)
    this.access = new DriverMemory(options.driverSpace ?? this.space)
    this.onKick = options.onKick ?? (() => {})
    const areas = options.areas ?? this.allocateAreas(packed, size)
    this.split = packed ? undefined : new SplitDriverRing(this.access, size, areas, eventIdx, start)
    this.packed = packed ? new PackedDriverRing(this.access, size, areas, eventIdx) : undefined
    this.ring = (this.split ?? this.packed) as DriverRing
    const queueOptions = {
      index,
      size,
      space: this.space,
      areas,
      eventIdx,
      indirect,
      start,
      interrupt: () => {
        this.interrupts++
        options.onInterrupt?.()
      },
      ...(options.isPolled === undefined ? {} : { isPolled: options.isPolled }),
      onBroken: (reason: string) => {
        this.broken.push(reason)
        options.onBroken?.(reason)
      },
    }
    this.queue = packed ? new PackedQueue(queueOptions) : new SplitQueue(queueOptions)
  }

  /** Makes a request available, and says which token `poll` will give for it. Does not notify: see `kick`. */
  add(request: DriverRequest): number {
    const { out = [], in: sizes = [], indirect = false, place = 'low' } = request
    const count = out.length + sizes.length
    const buffers = [
      ...out.map((bytes, i) => this.buffer(bytes, false, i === 0 ? place : away(place))),
      ...sizes.map((size, i) =>
        this.buffer(new Uint8Array(size).fill(UNTOUCHED), true, i + out.length === 0 ? place : away(place)),
      ),
    ]
    const table = indirect ? this.memory.allocate(16 * count) : undefined
    const token = this.nextToken++
    this.pending.set(this.ring.add(buffers, table), { token, buffers, table })
    return token
  }

  /** Notifies the device if it wants that; whether it did. */
  kick(): boolean {
    const wanted = this.ring.needsKick()
    if (wanted) {
      this.kicks++
      this.onKick()
    }
    return wanted
  }

  /** The next used request. Asks for an interrupt for the one after it. */
  poll(): Used | undefined {
    const entry = this.ring.take()
    if (entry === undefined) return undefined
    const pending = this.pending.get(entry.id) as Pending
    const { token, buffers } = pending
    this.pending.delete(entry.id)
    const inputs = buffers
      .filter(buffer => buffer.write)
      .map(({ address, length }) => this.access.read(address, length))
    const room = inputs.reduce((sum, bytes) => sum + bytes.length, 0)
    if (entry.written > room) throw new Error(`the device wrote ${entry.written} bytes into ${room}`)
    this.release(pending)
    this.ring.enableInterrupts()
    return { token, written: entry.written, in: inputs }
  }

  /** All used requests, in the order in which the device used them. */
  pollAll(): readonly Used[] {
    const all: Used[] = []
    for (let used = this.poll(); used !== undefined; used = this.poll()) all.push(used)
    return all
  }

  /** Forgets what the device has not used, after it was reset. */
  discard(): void {
    for (const pending of this.pending.values()) this.release(pending)
    this.pending.clear()
  }

  private release({ buffers, table }: Pending): void {
    for (const { address } of buffers) this.memory.free(address)
    if (table !== undefined) this.memory.free(table)
  }

  private buffer(bytes: Uint8Array, write: boolean, place: Place): DriverBuffer {
    const address = this.memory.allocate(bytes.length, place)
    this.access.write(address, bytes)
    return { address, length: bytes.length, write }
  }

  private allocateAreas(packed: boolean, size: number): QueueAreas {
    const sizes = packed ? PackedDriverRing.areaSizes(size) : SplitDriverRing.areaSizes(size)
    return {
      desc: this.memory.allocate(sizes.desc),
      driver: this.memory.allocate(sizes.driver),
      device: this.memory.allocate(sizes.device),
    }
  }
}

/** Only one buffer at a time can cross windows. */
function away(place: Place): Place {
  return place === 'crossing' ? 'low' : place
}

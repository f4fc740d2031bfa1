/**
 * One queue as the common configuration shows it: the registers behind queue_select (VIRTIO 1.2 §4.1.4.3), and the
 * virtqueue that they make while the queue is enabled.
 */
import type { DmaSpace } from '../memory/dma-space.ts'
import { PackedQueue } from './packed-queue.ts'
import type { QueueAreas, VirtQueue } from './queue.ts'
import type { IdleQueue, QueuePoller } from './queue-poller.ts'
import { SplitQueue } from './split-queue.ts'

/** In queue_msix_vector and msix_config: no vector. */
export const VIRTIO_MSI_NO_VECTOR = 0xffff

/** Indexes of 32-bit halves in `addresses`, in the order of the registers. */
const DESC = 0
const DRIVER = 2
const DEVICE = 4

/** What is negotiated about a queue. */
export interface RingKind {
  readonly packed: boolean
  readonly eventIdx: boolean
  readonly indirect: boolean
}

/** What a queue does to the outside. */
export interface QueueOwner {
  readonly space: DmaSpace
  /** Sends a used buffer notification by MSI-X vector `vector`, or by the pin. */
  interrupt(vector: number): void
  queueBroken(reason: string): void
  /** The queue may have chains. */
  notify(slot: QueueSlot): void
  readonly poller: QueuePoller | undefined
  /** Whether the function is a bus master. */
  readonly mayAccessMemory: boolean
}

/** Registers and life of a queue. */
export class QueueSlot implements IdleQueue {
  size: number
  vector = VIRTIO_MSI_NO_VECTOR
  /** queue_enable reads 1. */
  enabled = false
  /** queue_reset reads 1. */
  resetting = false
  /** The device may use the queue: it is enabled, not being reset, and the driver set DRIVER_OK. */
  live = false
  notifications = 0
  interrupts = 0
  private readonly addresses = new Uint32Array(6)
  private made: VirtQueue | undefined

  constructor(
    readonly index: number,
    readonly maxSize: number,
    private readonly owner: QueueOwner,
  ) {
    this.size = maxSize
  }

  /**
   * The virtqueue, while the device may use it: not while the function may not reach memory, as that may be another
   * system's by now (a kernel that boots the next one only takes the bus master bit).
   */
  get queue(): VirtQueue | undefined {
    return this.live && this.owner.mayAccessMemory ? this.made : undefined
  }

  /** queue_desc, queue_driver and queue_device, by 32-bit half. */
  readAddress(half: number): number {
    return this.addresses[half] as number
  }

  writeAddress(half: number, value: number): void {
    this.addresses[half] = value
  }

  /** Makes the virtqueue. Says why that is not possible, or nothing. */
  enable(kind: RingKind): string | undefined {
    const areas = { desc: this.address(DESC), driver: this.address(DRIVER), device: this.address(DEVICE) }
    const problem = this.problem(kind, areas)
    if (problem !== undefined) return `queue ${this.index}: ${problem}`
    const options = {
      index: this.index,
      size: this.size,
      space: this.owner.space,
      areas,
      eventIdx: kind.eventIdx,
      indirect: kind.indirect,
      // A queue that outlives its reset (a back end may hold it) says nothing any more.
      interrupt: () => {
        if (!this.live) return
        this.interrupts++
        this.owner.interrupt(this.vector)
      },
      isPolled: () => this.owner.poller?.watch(this) === true,
      onBroken: (reason: string) => {
        if (this.live) this.owner.queueBroken(reason)
      },
    }
    this.made = kind.packed ? new PackedQueue(options) : new SplitQueue(options)
    this.enabled = true
    return undefined
  }

  /** A poller found chains. */
  serve(): void {
    this.owner.notify(this)
  }

  /** Back to power-on; the counters stay. */
  reset(): void {
    this.size = this.maxSize
    this.vector = VIRTIO_MSI_NO_VECTOR
    this.enabled = false
    this.resetting = false
    this.live = false
    this.made?.close()
    this.made = undefined
    this.addresses.fill(0)
  }

  private address(half: number): number {
    return (this.addresses[half + 1] as number) * 0x1_0000_0000 + (this.addresses[half] as number)
  }

  private problem({ packed }: RingKind, { desc, driver, device }: QueueAreas): string | undefined {
    const { size, maxSize } = this
    if (size === 0 || size > maxSize) return `size ${size} is not between 1 and ${maxSize}`
    // §2.7: split queues only. Packed ones may have any size (§2.8.10.1).
    if (!packed && (size & (size - 1)) !== 0) return `size ${size} is not a power of two`
    // §2.7, §2.8.10.1: 16, 2 and 4 bytes for split queues, 16, 4 and 4 for packed ones.
    if (desc % 16 !== 0) return `descriptor area at 0x${desc.toString(16)} is not aligned`
    if (driver % (packed ? 4 : 2) !== 0) return `driver area at 0x${driver.toString(16)} is not aligned`
    if (device % 4 !== 0) return `device area at 0x${device.toString(16)} is not aligned`
    return undefined
  }
}

/**
 * A virtqueue as a device uses it, whatever its layout in memory. VIRTIO 1.2 §2.6; split-queue.ts (§2.7) and
 * packed-queue.ts (§2.8) implement it.
 *
 * A device pops chains, uses them, pushes them and then flushes once for the batch:
 *
 *   while (queue.pop(chain)) { ...; queue.push(chain, bytesWritten) }
 *   queue.flush()
 *
 * Chains may be pushed later and in any order (until the queue is reset). Nothing here throws for what a driver did:
 * a malformed chain breaks the queue, which is logged once, sets DEVICE_NEEDS_RESET and makes `pop` answer false.
 */
import type { DmaSpace } from '../memory/dma-space.ts'
import { Extents } from '../memory/extents.ts'

/** One request: the buffers of a descriptor chain, translated. Filled by `pop`, and reused. */
export class Chain {
  /** What the device may read, in order. */
  readonly readable: Extents
  /** What the device may write, in order. */
  readonly writable: Extents
  /** Split: the head's index. Packed: the buffer id. */
  id = 0
  /** Ring slots that the chain takes (packed), for `push`. */
  slots = 0

  constructor(space: DmaSpace) {
    this.readable = new Extents(space.memory)
    this.writable = new Extents(space.memory)
  }
}

/** Where a queue lies. VIRTIO 1.2 §2.6: descriptor area, driver area (avail), device area (used). */
export interface QueueAreas {
  readonly desc: number
  readonly driver: number
  readonly device: number
}

/** The device's end of a virtqueue. */
export interface VirtQueue {
  readonly index: number
  /** Entries, as the driver set it. */
  readonly size: number
  readonly space: DmaSpace
  /** I/O virtual addresses of the ring's parts, as the driver set them: for back ends that serve the ring themselves. */
  readonly areas: QueueAreas
  /** The packed layout (VIRTIO_F_RING_PACKED); false: split. */
  readonly isPacked: boolean
  /** Takes the next available chain into `chain`; false when there is none or the queue is broken. */
  pop(chain: Chain): boolean
  /**
   * Gives the last `count` popped chains back unused, newest first, so that the next `pop` finds them again. They must
   * not have been pushed.
   */
  rewind(count: number): void
  /** Marks a chain as used, with `written` bytes of its writable part (from its start) written. Not yet visible. */
  push(chain: Chain, written: number): void
  /** Makes all pushed chains visible to the driver, and interrupts it if it wants that. */
  flush(): void
  /** Interrupts the driver whatever it asked for: a back end outside looked at that already. */
  interrupt(): void
  /** Asks the driver to notify no more (a hint, as the driver may have looked already). */
  suppressNotifications(): void
  /**
   * Asks for a notification of the next chain; true when there are chains already that `pop` has not handed out, so pop
   * again. Chains that were given back do not count: a device that waits for more than it found would never wait.
   */
  requestNotifications(): boolean
  /** `requestNotifications` without a poller's say (queue-poller.ts). */
  armNotifications(): boolean
  /** Whether the driver added chains since the last `pop` that found none. */
  readonly hasNew: boolean
  /** Whether `pop` would find a chain now. */
  readonly hasAvailable: boolean
  /** Whether the driver broke the queue. */
  readonly isBroken: boolean
}

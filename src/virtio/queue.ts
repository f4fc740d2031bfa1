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
 *
 * Behind an IOMMU the driver may take back what the buffers' addresses come to while a chain is popped. A device that
 * uses a chain in another event than the one that it popped it in therefore either pins it (`Chain.isPinned`), and then
 * the driver's request waits, or compares `space.version` first, and gives it back when that has changed.
 */
import type { DmaSpace } from '../memory/dma-space.ts'
import { Extents } from '../memory/extents.ts'
import { IovaRanges } from './iova-ranges.ts'
import type { PoppedChains } from './popped-chains.ts'

/**
 * Mappings of an IOMMU that the readable and the writable part of a chain may each be spread over. Looking one up takes
 * time, which a driver must not be able to ask for without end: a chain may have 2^32 bytes (VIRTIO 1.2 §2.7.5.2), a
 * million pages. This is 16 MiB in pages of 4 KiB; the largest block requests of Linux have 1280 KiB unless somebody
 * raises that, and 254 segments, each of which it maps as a whole. Other devices take 1024 pieces (QEMU, vhost).
 */
const PART_MAPPINGS = 4096

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
  /** The buffers' I/O virtual addresses; only where translations can be taken back. */
  readonly ranges = new IovaRanges()
  /**
   * The host's kernel, or another thread, may use the buffers at any time. Set by the device after `pop`; cleared when
   * that is over and the chain is pushed or dropped, with a call of the space's `released` behind it.
   */
  isPinned = false
  /** DmaSpace.version that the buffers were translated with. */
  version = 0
  /** The queue's list that the chain is in, and its neighbours there. */
  list: PoppedChains | undefined
  older: Chain | undefined
  newer: Chain | undefined

  constructor(space: DmaSpace) {
    this.readable = new Extents(space.memory, PART_MAPPINGS)
    this.writable = new Extents(space.memory, PART_MAPPINGS)
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
  /** The queue was reset: it touches memory no more. */
  close(): void
}

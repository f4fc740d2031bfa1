/**
 * What both virtqueue layouts share: how a queue is set up, and the bits of a descriptor. VIRTIO 1.2 §2.7.5, §2.8.13.
 */
import type { DmaSpace } from '../memory/dma-space.ts'
import type { QueueAreas } from './queue.ts'

/** The chain goes on in the next descriptor. */
export const VIRTQ_DESC_F_NEXT = 1
/** The device may write the buffer, else it may read it. */
export const VIRTQ_DESC_F_WRITE = 2
/** The buffer holds a table of descriptors. */
export const VIRTQ_DESC_F_INDIRECT = 4

/** struct virtq_desc and struct pvirtq_desc: bytes. */
export const DESC_SIZE = 16

/** A queue as the driver programmed it, and whom the queue tells. */
export interface QueueOptions {
  readonly index: number
  /** Entries. Split: a power of two. */
  readonly size: number
  readonly space: DmaSpace
  readonly areas: QueueAreas
  /** VIRTIO_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean
  /** VIRTIO_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
  /** Sends a used buffer notification to the driver. */
  readonly interrupt: () => void
  /** Asked for notifications, before they are armed: true if somebody looks at the queue instead. */
  readonly isPolled?: () => boolean
  /** Called once, when the driver broke the queue; never from the constructor. */
  readonly onBroken: (reason: string) => void
  /** Split: both indexes to start from; 0 if absent. */
  readonly start?: number
}

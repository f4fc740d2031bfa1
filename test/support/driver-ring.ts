/** The driver's side of a virtqueue layout; split-driver-ring.ts and packed-driver-ring.ts implement it. */
import type { QueueAreas } from '../../src/virtio/queue.ts'

export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4

/** A buffer as a descriptor has it. */
export interface DriverBuffer {
  readonly address: number
  readonly length: number
  /** The device writes it. */
  readonly write: boolean
}

/** A descriptor exactly as it is to be in memory. */
export interface RawDescriptor {
  readonly address?: number
  readonly length?: number
  readonly flags?: number
  /** Split: `next`. Packed: the buffer id. */
  readonly next?: number
}

/** What the device gave back. */
export interface UsedEntry {
  readonly id: number
  readonly written: number
}

/** One queue from the driver's side. */
export interface DriverRing {
  readonly size: number
  readonly areas: QueueAreas
  /** Descriptors that are not in use. */
  readonly free: number
  /** Makes a chain available, through an indirect table at `table` if given; returns its id. */
  add(buffers: readonly DriverBuffer[], table?: number): number
  /** Whether the device wants a notification of what was added since this was asked last. */
  needsKick(): boolean
  /** The next used chain. */
  take(): UsedEntry | undefined
  /** Asks for no interrupts. */
  disableInterrupts(): void
  /** Asks for an interrupt when `count` more chains are used (several at once need EVENT_IDX). */
  enableInterrupts(count?: number): void
}

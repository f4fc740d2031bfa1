/** What a block device needs behind it: a disk that takes requests and answers them in any order. */
import type { Extents } from '../memory/extents.ts'

/** Kinds of request. */
export const BlockOp = { read: 0, write: 1, flush: 2, discard: 3, writeZeroes: 4 } as const

/** A request; the device has checked that it lies inside the disk, and leaves it alone until it is completed. */
export interface BlockRequest {
  /** From 0 to the backend's `depth` - 1; no two requests under way have the same. */
  readonly index: number
  /** One of `BlockOp`. */
  readonly op: number
  /** Bytes from the disk's start. */
  readonly offset: number
  readonly size: number
  /** Where the data is, for reads and writes: `size` bytes of it from `dataOffset` on. */
  readonly data: Extents
  readonly dataOffset: number
  /** Write-zeroes: the space may be given back to the host. */
  readonly unmap: boolean
}

/** The device's side. */
export interface BlockClient {
  /** `request` is done: 0 or an errno. May be called inside `kick`, and may submit again. */
  completed(request: BlockRequest, errno: number): void
  /** No more completions follow for now. Not called for those that came inside `kick`. */
  settled(): void
}

/** The disk's side. */
export interface BlockBackend {
  /** Bytes; a multiple of 512. */
  readonly size: number
  readonly readOnly: boolean
  /** The most requests under way. */
  readonly depth: number
  /** What offsets and sizes of reads and writes must be multiples of. */
  readonly alignment: number
  /** Sizes in bytes for the guest's information: `logical` and `physical` are powers of two, `optimal` may be 0. */
  readonly geometry: BlockSizes
  /** Whoever is told of completions. */
  attach(client: BlockClient): void
  /**
   * Takes a request; nothing happens to it before `kick`. A flush covers the writes that were completed before it was
   * submitted. Zeroes and discards may be refused by the host, which is for the backend to make good.
   */
  submit(request: BlockRequest): void
  /** Starts what was submitted, all at once, and completes what can be completed at once. */
  kick(): void
  /** Runs `task` when other devices have had their turn. */
  defer(task: () => void): void
  /** Finishes what is under way, and gives back what it owns. */
  close(): void
}

/** See `BlockBackend.geometry`. */
export interface BlockSizes {
  readonly logical: number
  readonly physical: number
  readonly minimal: number
  readonly optimal: number
  /** Discards are best aligned to this. */
  readonly discard: number
}

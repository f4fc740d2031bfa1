/**
 * A table of descriptors in a buffer that one descriptor refers to. VIRTIO 1.2 §2.7.5.3, §2.8.7. It is translated for
 * each use, and each of its descriptors is to be read once.
 */
import { Access, type DmaSpace } from '../memory/dma-space.ts'
import { Extents } from '../memory/extents.ts'
import { DESC_SIZE } from './ring.ts'

/**
 * Descriptors of a table that a queue follows even if it has fewer entries itself. §2.7.5.3.1 allows no more than the
 * queue size, but Linux holds its requests to that only without indirect descriptors. 1024 is what the host takes in
 * one vector (IOV_MAX).
 */
const INDIRECT_LIMIT = 1024

/** One table after another. */
export class IndirectTable {
  /** Descriptors in the table. */
  entries = 0
  /** What the offset of the last `at` is in. */
  view: DataView
  private readonly extents: Extents
  private readonly limit: number
  /** Where the table starts in `view`; -1 when it is in several pieces. */
  private base = 0
  private readonly copy = new DataView(new ArrayBuffer(DESC_SIZE))
  private readonly copyBytes = new Uint8Array(this.copy.buffer)

  constructor(
    private readonly space: DmaSpace,
    queueSize: number,
  ) {
    this.extents = new Extents(space.memory)
    this.limit = Math.max(queueSize, INDIRECT_LIMIT)
    this.view = this.copy
  }

  /** Looks the table up; a sentence about what is wrong with it, or undefined. */
  open(low: number, high: number, bytes: number): string | undefined {
    if (bytes === 0 || bytes % DESC_SIZE !== 0) return `an indirect table of ${bytes} bytes`
    this.entries = bytes / DESC_SIZE
    if (this.entries > this.limit) return `an indirect table of ${this.entries} descriptors`
    const { extents, space } = this
    const address = high * 0x1_0000_0000 + low
    extents.clear()
    if (!space.translate(address, bytes, Access.read, extents))
      return `an indirect table at 0x${address.toString(16)}, which the device may not read`
    if (extents.count === 1) {
      const start = extents.start(0)
      this.view = space.memory.viewAt(start)
      this.base = space.memory.offsetAt(start)
    } else {
      this.view = this.copy
      this.base = -1
    }
    return undefined
  }

  /** Where descriptor `index` is in `view`. */
  at(index: number): number {
    if (this.base >= 0) return this.base + index * DESC_SIZE
    this.extents.read(index * DESC_SIZE, this.copyBytes)
    return 0
  }
}

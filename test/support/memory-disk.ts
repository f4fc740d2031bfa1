/** A disk in memory for tests of the block device alone: completes inside `kick`, or when the test says so. */
import { type BlockBackend, type BlockClient, BlockOp, type BlockRequest } from '../../src/virtio/blk-backend.ts'

export interface MemoryDiskOptions {
  readonly sectors?: number
  readonly readOnly?: boolean
  readonly depth?: number
  readonly alignment?: number
}

const NAMES = ['read', 'write', 'flush', 'discard', 'writeZeroes'] as const

/** The disk. */
export class MemoryDisk implements BlockBackend {
  readonly bytes: Uint8Array
  readonly size: number
  readonly readOnly: boolean
  readonly depth: number
  readonly alignment: number
  readonly geometry = { logical: 512, physical: 4096, minimal: 4096, optimal: 65536, discard: 4096 }
  /** What was asked for, in order: operation, offset, size. */
  readonly log: string[] = []
  /** Requests wait for `complete`. */
  isHolding = false
  /** The errno of whatever is completed from now on. */
  errno = 0
  closed = false
  kicks = 0
  deferred: (() => void)[] = []
  private submitted: BlockRequest[] = []
  private held: BlockRequest[] = []
  private client: BlockClient | undefined

  constructor({ sectors = 64, readOnly = false, depth = 16, alignment = 512 }: MemoryDiskOptions = {}) {
    this.bytes = new Uint8Array(sectors * 512).map((_, i) => (i >>> 9) + i)
    this.size = this.bytes.length
    this.readOnly = readOnly
    this.depth = depth
    this.alignment = alignment
  }

  attach(client: BlockClient): void {
    this.client = client
  }

  submit(request: BlockRequest): void {
    const { op, offset, size, unmap } = request
    this.log.push(op === BlockOp.flush ? 'flush' : `${NAMES[op]}${unmap && op === 4 ? '+unmap' : ''} ${offset} ${size}`)
    this.submitted.push(request)
  }

  kick(): void {
    this.kicks++
    for (let next = this.submitted.shift(); next !== undefined; next = this.submitted.shift())
      if (this.isHolding) this.held.push(next)
      else this.finish(next)
  }

  /** Completes up to `count` of the held requests, oldest first; those that follow from them are held again. */
  complete(count = this.held.length): void {
    for (const request of this.held.splice(0, count)) this.finish(request)
    this.kick()
    this.client?.settled()
  }

  get heldCount(): number {
    return this.held.length
  }

  defer(task: () => void): void {
    this.deferred.push(task)
  }

  close(): void {
    this.isHolding = false
    this.complete()
    this.closed = true
  }

  private finish(request: BlockRequest): void {
    const { op, offset, size, data, dataOffset } = request
    const { errno } = this
    if (errno === 0 && op === BlockOp.read) data.write(dataOffset, this.bytes, offset, size)
    if (errno === 0 && op === BlockOp.write) data.read(dataOffset, this.bytes, offset, size)
    if (errno === 0 && op >= BlockOp.discard) this.bytes.fill(0, offset, offset + size)
    this.client?.completed(request, errno)
  }
}

/** A disk in memory that completes requests in any order, now or later, and sometimes with an error. */
import type { BlockBackend, BlockClient, BlockRequest } from '../../src/virtio/blk-backend.ts'
import { BlockOp } from '../../src/virtio/blk-backend.ts'
import type { Random } from './random.ts'

const SIZE = 2 ** 17
const EIO = 5

export class FuzzDisk implements BlockBackend {
  readonly size = SIZE
  readonly readOnly = false
  readonly depth = 32
  readonly alignment = 512
  readonly geometry = { logical: 512, physical: 4096, minimal: 4096, optimal: 0, discard: 4096 }
  /** From now on no request fails. */
  isReliable = false
  private readonly bytes = new Uint8Array(SIZE)
  private client: BlockClient | undefined
  private pending: BlockRequest[] = []

  constructor(
    private readonly random: Random,
    readonly defer: (task: () => void) => void,
  ) {}

  attach(client: BlockClient): void {
    this.client = client
  }

  submit(request: BlockRequest): void {
    if (this.pending.some(other => other.index === request.index)) throw new Error('two requests have one index')
    if (request.offset + request.size > SIZE) throw new Error('a request goes over the end of the disk')
    this.pending.push(request)
  }

  kick(): void {
    this.finish(this.random.below(this.pending.length + 1))
  }

  /** Completes what is under way, in some order. */
  complete(): void {
    if (this.pending.length === 0) return
    this.finish(this.pending.length)
    this.client?.settled()
  }

  close(): void {
    this.finish(this.pending.length)
  }

  private finish(count: number): void {
    for (let i = 0; i < count && this.pending.length > 0; i++) {
      const [request] = this.pending.splice(this.random.below(this.pending.length), 1)
      if (request === undefined) return
      const isFailure = !this.isReliable && this.random.below(20) === 0
      if (!isFailure) this.transfer(request)
      this.client?.completed(request, isFailure ? EIO : 0)
    }
  }

  private transfer({ op, offset, size, data, dataOffset }: BlockRequest): void {
    const part = this.bytes.subarray(offset, offset + size)
    if (op === BlockOp.read) data.write(dataOffset, part)
    else if (op === BlockOp.write) data.read(dataOffset, part)
    else if (op !== BlockOp.flush) part.fill(0)
  }
}

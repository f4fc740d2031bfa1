/** Guest RAM that goes back to the host: what a balloon does with pages. */
import { errnoName } from '../host/errno.ts'
import { allocate, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../host/file.ts'
import type { RamBlock } from '../memory/ram.ts'
import type { BalloonMemory } from '../virtio/balloon.ts'

/** Punches holes into the memfd behind `blocks`, which lie in it one after the other. */
export class RamDiscard implements BalloonMemory {
  private hasFailed = false

  constructor(
    private readonly fd: number,
    private readonly blocks: readonly RamBlock[],
    private readonly warn: (message: string) => void,
  ) {}

  discard(start: number, size: number): void {
    let offset = 0
    for (const block of this.blocks) {
      const from = Math.max(start, block.start)
      const to = Math.min(start + size, block.start + block.size)
      if (from < to) this.punch(offset + (from - block.start), to - from)
      offset += block.size
    }
  }

  private punch(offset: number, size: number): void {
    const result = allocate(this.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size)
    if (result === 0 || this.hasFailed) return
    // Once: the guest goes on without the memory either way.
    this.hasFailed = true
    this.warn(`memory does not go back to the host: fallocate(memfd) failed: ${errnoName(-result)} (errno ${-result})`)
  }
}

import { describe, expect, it } from 'vitest'
import { Extents } from '../../../src/memory/extents.ts'
import { BlockOp } from '../../../src/virtio/blk-backend.ts'
import { PipeDisk } from '../../support/pipe-disk.ts'

const SIZE = 512

/** With a read of one sector under way. */
function openHung(closeLimitMs: number): PipeDisk {
  const hung = new PipeDisk(closeLimitMs)
  const { disk, heard, memory } = hung
  disk.attach({ completed: (_, errno) => void heard.push(`completed ${errno}`), settled() {} })
  const data = new Extents(memory.memory)
  data.add(0, SIZE)
  disk.submit({ index: 0, op: BlockOp.read, offset: 0, size: SIZE, data, dataOffset: 0, unmap: false })
  disk.kick()
  return hung
}

describe('Disk.close', () => {
  it('waits for what is under way', () => {
    using hung = openHung(60_000)
    hung.feed(new Uint8Array(SIZE))
    hung.disk.close()
    expect(hung.heard).toEqual(['completed 0'])
  })

  it('gives up on a disk that does not answer, and says that it may use guest memory yet', () => {
    using hung = openHung(1)
    hung.disk.close()
    hung.io[Symbol.dispose]()
    expect(hung.heard).toEqual(['disk pipe does not answer: requests that are left to the kernel: 1', 'abandoned'])
  })
})

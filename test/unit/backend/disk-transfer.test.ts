import { describe, expect, it } from 'vitest'
import { Transfer } from '../../../src/backend/disk-transfer.ts'
import { Extents } from '../../../src/memory/extents.ts'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'
import { BlockOp } from '../../../src/virtio/blk-backend.ts'

const MIB = 2 ** 20

describe('Transfer', () => {
  it('hands over no more at once than the kernel may copy while other devices wait', () => {
    const data = new Extents(new GuestMemory([{ start: 0, bytes: new Uint8Array(10 * MIB), hostAddress: 2 ** 30 }]))
    data.add(0, 10 * MIB)
    const size = 10 * MIB
    const transfer = new Transfer({ index: 0, op: BlockOp.read, offset: 0, size, data, dataOffset: 0, unmap: false })
    const pieces = [1, 2, 3].map(() => {
      transfer.prepare(0)
      const piece = [transfer.address - 2 ** 30, transfer.length]
      return [...piece, transfer.advance(transfer.length)]
    })
    expect(pieces).toEqual([
      [0, 4 * MIB, false],
      [4 * MIB, 4 * MIB, false],
      [8 * MIB, 2 * MIB, true],
    ])
  })
})

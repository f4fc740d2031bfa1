import { describe, expect, it } from 'vitest'
import { Access, IdentitySpace } from '../../../src/memory/dma-space.ts'
import { Extents } from '../../../src/memory/extents.ts'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'

/** RAM at 0x1000-0x2fff in two windows and at 4 GiB. */
function identity(): { space: IdentitySpace; extents: Extents } {
  const window = (start: number) => ({ start, bytes: new Uint8Array(0x1000) })
  const memory = new GuestMemory([window(0x1000), window(0x2000), window(2 ** 32)])
  return { space: new IdentitySpace(memory), extents: new Extents(memory) }
}

function ranges(extents: Extents): readonly (readonly number[])[] {
  return Array.from({ length: extents.count }, (_, i) => [extents.start(i), extents.length(i)])
}

describe('IdentitySpace', () => {
  it.each([
    ['in a window', 0x1800, 0x10, [[0x1800, 0x10]]],
    ['that is a window', 2 ** 32, 0x1000, [[2 ** 32, 0x1000]]],
    [
      'over two windows',
      0x1f00,
      0x200,
      [
        [0x1f00, 0x100],
        [0x2000, 0x100],
      ],
    ],
    ['of nothing', 0x1800, 0, []],
    ['of nothing, where no memory is', 0x8000_0000, 0, []],
  ])('translates a range %s', (_, iova, length, expected) => {
    const { space, extents } = identity()
    expect(space.translate(iova, length, Access.read, extents)).toBe(true)
    expect(ranges(extents)).toEqual(expected)
  })

  it.each([
    ['in a hole', 0x8000_0000, 1],
    ['that starts before memory', 0xfff, 2],
    ['that runs into a hole', 0x2fff, 2],
    ['that runs into a hole from another window', 0x1fff, 0x1002],
    ['behind all memory', 2 ** 32 + 0xfff, 2],
    ['at the end of addresses', 2 ** 64, 1],
    ['of 4 GiB', 0x1000, 2 ** 32 - 1],
  ])('refuses a range %s, and leaves the extents as they were', (_, iova, length) => {
    const { space, extents } = identity()
    space.translate(0x1000, 8, Access.write, extents)
    expect(space.translate(iova, length, Access.write, extents)).toBe(false)
    expect([ranges(extents), extents.size]).toEqual([[[0x1000, 8]], 8])
  })

  it('appends', () => {
    const { space, extents } = identity()
    space.translate(0x1000, 8, Access.read, extents)
    space.translate(0x1008, 8, Access.read, extents)
    expect([ranges(extents), extents.size]).toEqual([
      [
        [0x1000, 8],
        [0x1008, 8],
      ],
      16,
    ])
  })
})

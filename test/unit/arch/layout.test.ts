import { describe, expect, it } from 'vitest'
import { memoryMap, ramRanges } from '../../../src/arch/x86-64/layout.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

describe('ramRanges', () => {
  it.each([
    [2 * MIB, [{ start: 0, size: 2 * MIB }]],
    [3 * GIB, [{ start: 0, size: 3 * GIB }]],
    [
      3 * GIB + MIB,
      [
        { start: 0, size: 3 * GIB },
        { start: 4 * GIB, size: MIB },
      ],
    ],
  ])('lays %d bytes around the hole below 4 GiB', (size, ranges) => {
    expect(ramRanges(size)).toEqual(ranges)
  })
})

describe('memoryMap', () => {
  it.each([2 * MIB, 256 * MIB, 3 * GIB, 6 * GIB])('tells a guest of %d bytes only of RAM that it has', size => {
    const map = memoryMap(size)
    const ram = map.filter(range => range.type === 'ram')
    const stray = ram.filter(
      ({ start, size: length }) =>
        !ramRanges(size).some(range => start >= range.start && start + length <= range.start + range.size),
    )
    expect(stray).toEqual([])
    expect(ram.reduce((sum, range) => sum + range.size, 0)).toBe(size - (MIB - 0x9_fc00))
  })

  it.each([2 * MIB, 3 * GIB, 6 * GIB])('is in order and without overlaps for %d bytes', size => {
    const map = memoryMap(size)
    const ends = map.map(range => range.start + range.size)
    expect(map.slice(1).filter((range, i) => range.start < ends[i]!)).toEqual([])
  })
})

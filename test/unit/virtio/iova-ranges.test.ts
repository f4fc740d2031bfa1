import { describe, expect, it } from 'vitest'
import { IovaRanges } from '../../../src/virtio/iova-ranges.ts'

/** [0x1000, 0x1fff], [0x8000, 0x8000], and [2^52 - 0x1000, 2^52 - 1]. */
function ranges(): IovaRanges {
  const all = new IovaRanges()
  all.add(0x1000, 0x1000)
  all.add(0x8000, 1)
  all.add(2 ** 52 - 0x1000, 0x1000)
  return all
}

describe('IovaRanges', () => {
  it.each([
    { start: 0, end: 0xfff, expected: false },
    { start: 0, end: 0x1000, expected: true },
    { start: 0x1fff, end: 0x1fff, expected: true },
    { start: 0x2000, end: 0x7fff, expected: false },
    { start: 0x1800, end: 0x1801, expected: true },
    { start: 0x8000, end: 0x8000, expected: true },
    { start: 0x8001, end: 2 ** 52 - 0x1001, expected: false },
    { start: 2 ** 52 - 1, end: 2 ** 53, expected: true },
    { start: 2 ** 52, end: 2 ** 53, expected: false },
    { start: 0, end: Number.MAX_SAFE_INTEGER, expected: true },
  ])('overlap [$start, $end]: $expected', ({ start, end, expected }) => {
    expect(ranges().overlap(start, end)).toBe(expected)
  })

  it('are none after clear', () => {
    const all = ranges()
    all.clear()
    expect(all.overlap(0, Number.MAX_SAFE_INTEGER)).toBe(false)
  })

  it('hold as many as a chain can have', () => {
    const all = new IovaRanges()
    Array.from({ length: 1026 }, (_, i) => all.add(i * 0x2000, 0x1000))
    const hits = Array.from({ length: 2052 }, (_, i) => all.overlap(i * 0x1000, i * 0x1000 + 0xfff))
    expect(hits).toEqual(Array.from({ length: 2052 }, (_, i) => i % 2 === 0))
  })
})

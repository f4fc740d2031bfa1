import { describe, expect, it } from 'vitest'
import { findHighRoom, findLowRoom, isRam, type MemoryRange, overlaps, ramBytes } from '../../../src/boot/memory-map.ts'

const MAP: readonly MemoryRange[] = [
  { start: 0, size: 0x9fc00, type: 'ram' },
  { start: 0xe0000, size: 0x20000, type: 'acpi' },
  { start: 0x100000, size: 0x700000, type: 'ram' },
  { start: 0x300000, size: 0x100000, type: 'reserved' },
]
const ROOM = { size: 0x1000, alignment: 0x1000, floor: 0x100000, limit: 0x1_0000_0000, taken: [] }

describe('overlaps', () => {
  it.each([
    [{ start: 0, size: 10 }, { start: 9, size: 1 }, true],
    [{ start: 0, size: 10 }, { start: 10, size: 1 }, false],
    [{ start: 5, size: 0 }, { start: 0, size: 10 }, false],
    [{ start: 0, size: 10 }, { start: 2, size: 2 }, true],
  ])('says of %o and %o: %s', (a, b, expected) => {
    expect(overlaps(a, b)).toBe(expected)
    expect(overlaps(b, a)).toBe(expected)
  })
})

describe('isRam', () => {
  it.each([
    ['a whole RAM range', 0, 0x9fc00, true],
    ['one byte past a RAM range', 0, 0x9fc01, false],
    ['the gap between two ranges', 0xa0000, 0x1000, false],
    ['the ACPI range', 0xe0000, 0x1000, false],
    ['RAM below a reserved hole', 0x2ff000, 0x1000, true],
    ['RAM that reaches into a reserved hole', 0x2ff000, 0x1001, false],
    ['an address beyond 2^53', 2 ** 60, 0x1000, false],
  ])('judges %s', (_name, start, size, expected) => {
    expect(isRam(MAP, { start, size })).toBe(expected)
  })
})

describe('ramBytes', () => {
  it('adds RAM ranges only', () => {
    expect(ramBytes(MAP)).toBe(0x9fc00 + 0x700000)
  })
})

describe('findHighRoom', () => {
  it('takes the top of the highest range', () => {
    expect(findHighRoom(MAP, ROOM)).toBe(0x7ff000)
  })

  it('stays below the limit and aligned', () => {
    expect(findHighRoom(MAP, { ...ROOM, limit: 0x601234 })).toBe(0x600000)
  })

  it('steps below what is taken and below holes', () => {
    const taken = [{ start: 0x400800, size: 0x3ff800 }]
    expect(findHighRoom(MAP, { ...ROOM, taken })).toBe(0x2ff000)
  })

  it('finds nothing below the floor', () => {
    expect(findHighRoom(MAP, { ...ROOM, size: 0x800000 })).toBeUndefined()
  })
})

describe('findLowRoom', () => {
  it('takes the first aligned address from the floor on', () => {
    expect(findLowRoom(MAP, { ...ROOM, floor: 0x100001 })).toBe(0x101000)
  })

  it('steps over what is taken and over holes', () => {
    const taken = [{ start: 0x100000, size: 0x1ff801 }]
    expect(findLowRoom(MAP, { ...ROOM, taken })).toBe(0x400000)
  })

  it('finds nothing at the limit', () => {
    expect(findLowRoom(MAP, { ...ROOM, limit: 0x100fff })).toBeUndefined()
  })
})

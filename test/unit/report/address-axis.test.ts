import { describe, expect, it } from 'vitest'
import { AddressAxis } from '../../../src/report/address-axis.ts'
import type { Mapping } from '../../../src/report/mapping.ts'
import { Random } from '../../support/random.ts'

const PAGE = 4096

function mapping(start: number, size: number): Mapping {
  const life = { bornMs: 0, diedMs: undefined, endedBy: undefined }
  return { domain: 1, start, end: start + size - 1, phys: 0, flags: 3, seq: 1, ...life }
}

describe('AddressAxis', () => {
  it('is empty of nothing', () => {
    const axis = new AddressAxis([], 100)
    expect([axis.bands, axis.rows, axis.row(0)]).toEqual([[], 0, undefined])
  })

  it('leaves out a large gap, and keeps a small one', () => {
    const axis = new AddressAxis(
      [mapping(0, 64 * PAGE), mapping(66 * PAGE, 60 * PAGE), mapping(2 ** 40, 16 * PAGE)],
      100,
    )
    expect(axis.bands.map(({ start, end }) => [start, end])).toEqual([
      [0, 126 * PAGE - 1],
      [2 ** 40, 2 ** 40 + 16 * PAGE - 1],
    ])
  })

  it('has at most ten bands with rows for each, however scattered', () => {
    const mappings = Array.from({ length: 38 }, (_, index) => mapping(2 ** index * PAGE, PAGE))
    const { bands } = new AddressAxis(mappings, 100)
    expect(bands).toHaveLength(10)
    expect(Math.min(...bands.map(({ rows }) => rows))).toBe(6)
  })

  it('puts the rows of its bands one on the other', () => {
    const axis = new AddressAxis([mapping(0, PAGE), mapping(2 ** 40, PAGE), mapping(2 ** 44, PAGE)], 30)
    expect(axis.bands.map(({ row, rows }) => [row, rows])).toEqual([
      [0, 10],
      [10, 10],
      [20, 10],
    ])
    expect(axis.rows).toBe(30)
  })

  it.each([
    [0, 0],
    [PAGE / 2, 5],
    [PAGE, 10],
    [2 * PAGE, 20],
    [2 * PAGE + 2 ** 19, 65],
    [2 * PAGE + 2 ** 20, 110],
    [2 ** 40, 110],
    [2 ** 40 + PAGE, 120],
    [3 * PAGE + 2 ** 20, undefined],
    [2 ** 41, undefined],
  ])('has room for a range by the logarithm of its size: %d on row %d', (address, row) => {
    // 10 rows for each page, and 90 for the 256 in one piece.
    const mappings = [mapping(0, PAGE), mapping(PAGE, PAGE), mapping(2 * PAGE, 2 ** 20), mapping(2 ** 40, PAGE)]
    expect(new AddressAxis(mappings, 120).row(address)).toBe(row)
  })

  it('has half the room for a range that was never mapped', () => {
    const axis = new AddressAxis([mapping(0, 64 * PAGE), mapping(66 * PAGE, 64 * PAGE)], 150)
    expect([64, 66, 130].map(page => axis.row(page * PAGE))).toEqual([70, 80, 150])
  })

  it.each([1, 2, 3, 4])('finds the address of a row, and the row of an address (seed %i)', seed => {
    const random = new Random(seed)
    const mappings = Array.from({ length: 200 }, () =>
      mapping(random.below(2 ** (4 + random.below(20))) * PAGE, (1 + random.below(8)) * PAGE),
    )
    const axis = new AddressAxis(mappings, 130)
    const rows = axis.bands.flatMap(band =>
      Array.from({ length: band.rows }, (_, index) => ({ band, row: band.row + index })),
    )
    const back = rows.map(({ band, row }) => Math.round((axis.row(axis.address(row, band)) ?? -1) * 1000) / 1000)
    // An address is whole, so a row may be missed by a little.
    const far = back.filter((row, index) => Math.abs(row - (rows[index]?.row ?? 0)) > 0.01)
    expect(far).toEqual([])
    const rising = mappings.map(({ start }) => start).sort((a, b) => a - b)
    const found = rising.map(start => axis.row(start) ?? -1)
    expect(found).toEqual([...found].sort((a, b) => a - b))
  })

  it('finds the edge below a row', () => {
    const axis = new AddressAxis([mapping(0, PAGE), mapping(PAGE, PAGE)], 20)
    const [band] = axis.bands
    expect([0, 9, 10, 19].map(row => band && axis.edgeBelow(row, band))).toEqual([0, 0, PAGE, PAGE])
  })
})

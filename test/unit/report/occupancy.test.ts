import { inflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { AddressAxis, type Band } from '../../../src/report/address-axis.ts'
import type { Mapping } from '../../../src/report/mapping.ts'
import { occupancyPng } from '../../../src/report/occupancy.ts'

const PAGE = 4096

function mapping(start: number, size: number, bornMs = 0, diedMs?: number, flags = 3): Mapping {
  return { domain: 1, start, end: start + size - 1, phys: 0, flags, seq: 1, bornMs, diedMs, endedBy: undefined }
}

/** The palette's indexes of a PNG, a row for each of its rows. */
function pixelsOf(png: Uint8Array): readonly (readonly number[])[] {
  const file = Buffer.from(png)
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)]
  const at = file.indexOf('IDAT')
  const rows = inflateSync(file.subarray(at + 4, at + 4 + file.readUInt32BE(at - 4)))
  return Array.from({ length: height }, (_, row) => [...rows.subarray(row * (width + 1) + 1, (row + 1) * (width + 1))])
}

/** Four pages of the same size, over four milliseconds. */
const PAGES = new AddressAxis(
  [0, 1, 2, 3].map(page => mapping(page * PAGE, PAGE)),
  8,
)
const [BAND] = PAGES.bands as readonly [Band]
const FOUR = { axis: PAGES, band: BAND, columns: 4, firstMs: 0, lastMs: 4 }
const NONE = [0, 0, 0, 0]
/** Full colours of the palette: six steps each. */
const READ = 6
const READ_WRITE = 18

describe('occupancyPng', () => {
  it('has addresses up and time to the right', () => {
    const png = occupancyPng([mapping(PAGE, PAGE, 1, 3)], FOUR)
    const line = [0, READ_WRITE, READ_WRITE, 0]
    expect(pixelsOf(png)).toEqual([NONE, NONE, NONE, NONE, line, line, NONE, NONE])
  })

  it('goes on to the end with what was never removed, and colours by rights', () => {
    const png = occupancyPng([mapping(0, 4 * PAGE, 2, undefined, 1)], FOUR)
    expect(pixelsOf(png)).toEqual(Array.from({ length: 8 }, () => [0, 0, READ, READ]))
  })

  it('is pale where it is mapped half of the time, and seen where it was for a moment', () => {
    const png = occupancyPng([mapping(0, PAGE, 0.5, 1.5), mapping(3 * PAGE, PAGE, 2, 2)], FOUR)
    const [moment, half] = [
      [0, 0, 13, 0],
      [16, 16, 0, 0],
    ]
    expect(pixelsOf(png)).toEqual([moment, moment, NONE, NONE, NONE, NONE, half, half])
  })

  it('draws only what is in its band', () => {
    const axis = new AddressAxis([mapping(0, PAGE), mapping(2 ** 40, PAGE)], 12)
    const [low, high] = axis.bands as readonly [Band, Band]
    const mappings = [mapping(2 ** 40, PAGE)]
    expect(pixelsOf(occupancyPng(mappings, { ...FOUR, axis, band: low }))).toEqual(
      Array.from({ length: 6 }, () => NONE),
    )
    expect(pixelsOf(occupancyPng(mappings, { ...FOUR, axis, band: high }))[0]).toEqual(Array(4).fill(READ_WRITE))
  })

  it('is a PNG that begins and ends as one', () => {
    const png = Buffer.from(occupancyPng([], FOUR))
    expect(png.subarray(0, 16).toString('hex')).toBe('89504e470d0a1a0a0000000d49484452')
    expect(png.subarray(-12).toString('hex')).toBe('0000000049454e44ae426082')
  })
})

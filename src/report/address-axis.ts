/**
 * The address axis of a picture. Addresses that were never mapped are left out where they are many, which leaves a few
 * bands; within a band, what lies between two edges of mappings has room by the logarithm of its size, so that a page
 * beside a gigabyte is seen.
 */
import type { Mapping } from './mapping.ts'

/** Bands at most. */
const MAX_BANDS = 10
/** A gap that takes more than this share of what is left is cut out. */
const CUT_SHARE = 0.04
/** The least height of a band. */
const MIN_ROWS = 6
const PAGE_SIZE = 4096

/** An inclusive range of addresses on `rows` rows from `row` on, counted from the lowest address up. */
export interface Band {
  readonly start: number
  readonly end: number
  readonly row: number
  readonly rows: number
}

/** A range without a gap; `end` is inclusive. */
interface Extent {
  readonly start: number
  end: number
}

/** See above. */
export class AddressAxis {
  /** By rising address. */
  readonly bands: readonly Band[]
  readonly rows: number
  /** Where mappings begin, or the address behind their ends, each once. */
  private readonly edges: Float64Array
  /** Row of each edge. */
  private readonly edgeRows: Float64Array

  /** An axis for `mappings` of about `rows` rows. */
  constructor(mappings: readonly Mapping[], rows: number) {
    this.edges = edgesOf(mappings)
    const extents = joined(mappings)
    const ranges = split(extents)
    const weights = this.weigh(extents)
    this.edgeRows = new Float64Array(this.edges.length)
    const totals = ranges.map(({ start, end }) => {
      let total = 0
      for (let at = this.edgeAt(start); (this.edges[at] ?? end) < end; at++) total += weights[at] ?? 0
      return total
    })
    const all = totals.reduce((sum, total) => sum + total, 0)
    let row = 0
    this.bands = ranges.map(({ start, end }, index) => {
      const total = totals[index] ?? 1
      const band = { start, end, row, rows: Math.max(MIN_ROWS, Math.round((rows * total) / all)) }
      this.place(band, weights, band.rows / total)
      row += band.rows
      return band
    })
    this.rows = row
  }

  /** The row of an address, with a fraction; undefined outside the bands. The address behind a band is its upper edge. */
  row(address: number): number | undefined {
    const band = this.bandOf(address)
    if (band === undefined) return undefined
    if (address === band.end + 1) return band.row + band.rows
    const at = this.edgeAt(address)
    const [low = 0, high = low] = this.edges.subarray(at, at + 2)
    const from = this.edgeRows[at] ?? 0
    const to = high > band.end ? band.row + band.rows : (this.edgeRows[at + 1] ?? from)
    return from + ((address - low) / (high - low)) * (to - from)
  }

  /** The address at a row of a band. */
  address(row: number, band: Band): number {
    const at = Math.max(this.edgeAt(band.start), lastAtMost(this.edgeRows, row))
    const low = Math.min(this.edges[at] ?? 0, band.end)
    const high = Math.min(this.edges[at + 1] ?? low, band.end + 1)
    const from = this.edgeRows[at] ?? 0
    const to = high > band.end ? band.row + band.rows : (this.edgeRows[at + 1] ?? from)
    return to > from ? low + Math.floor(((row - from) / (to - from)) * (high - low)) : low
  }

  /** The edge of a mapping next below a row of a band. */
  edgeBelow(row: number, band: Band): number {
    return this.edges[Math.max(this.edgeAt(band.start), lastAtMost(this.edgeRows, row))] ?? band.start
  }

  /** The first band with the address, or right below it. */
  private bandOf(address: number): Band | undefined {
    return this.bands.find(({ start, end }) => address >= start && address <= end + 1)
  }

  private edgeAt(address: number): number {
    return lastAtMost(this.edges, address)
  }

  private place(band: Band, weights: Float64Array, scale: number): void {
    let row = band.row
    for (let at = this.edgeAt(band.start); (this.edges[at] ?? Number.POSITIVE_INFINITY) <= band.end; at++) {
      this.edgeRows[at] = row
      row += (weights[at] ?? 0) * scale
    }
    // The edge behind it, unless the next band begins there.
    const behind = this.edgeAt(band.end + 1)
    if (this.edges[behind] === band.end + 1) this.edgeRows[behind] = band.row + band.rows
  }

  /** Room for what is between each edge and the next; half of it where nothing was mapped. */
  private weigh(extents: readonly Extent[]): Float64Array {
    let extent = 0
    return this.edges.map((edge, index) => {
      while ((extents[extent]?.end ?? Number.POSITIVE_INFINITY) < edge) extent++
      const isMapped = (extents[extent]?.start ?? Number.POSITIVE_INFINITY) <= edge
      const weight = 1 + Math.log2(Math.max(1, ((this.edges[index + 1] ?? edge) - edge) / PAGE_SIZE))
      return isMapped ? weight : weight / 2
    })
  }
}

function edgesOf(mappings: readonly Mapping[]): Float64Array {
  const all = new Float64Array(2 * mappings.length)
  for (const [index, { start, end }] of mappings.entries()) {
    all[2 * index] = start
    all[2 * index + 1] = end + 1
  }
  all.sort()
  return all.filter((edge, index) => edge !== all[index - 1])
}

/** Ranges without a gap between them, by rising address. */
function joined(mappings: readonly Mapping[]): readonly Extent[] {
  const extents: Extent[] = []
  for (const { start, end } of [...mappings].sort((a, b) => a.start - b.start)) {
    const last = extents.at(-1)
    if (last !== undefined && start <= last.end + 1) last.end = Math.max(last.end, end)
    else extents.push({ start, end })
  }
  return extents
}

/** The ranges that are left when large gaps are cut out. */
function split(extents: readonly Extent[]): readonly Extent[] {
  const first = extents[0]
  const last = extents.at(-1)
  if (first === undefined || last === undefined) return []
  const gaps = extents
    .slice(1)
    .map((extent, index) => ({ index: index + 1, bytes: extent.start - (extents[index]?.end ?? 0) - 1 }))
    .sort((a, b) => b.bytes - a.bytes)
  const cuts: number[] = []
  let rest = last.end - first.start + 1
  for (const { index, bytes } of gaps) {
    if (cuts.length === MAX_BANDS - 1 || bytes < rest * CUT_SHARE) break
    cuts.push(index)
    rest -= bytes
  }
  const ends = [...cuts.sort((a, b) => a - b), extents.length]
  return ends.map((end, index) => ({
    start: extents[ends[index - 1] ?? 0]?.start ?? 0,
    end: extents[end - 1]?.end ?? 0,
  }))
}

/** Index of the last of the rising `values` that is `value` or less; 0 if there is none. */
function lastAtMost(values: Float64Array, value: number): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((values[middle] ?? 0) <= value) low = middle + 1
    else high = middle
  }
  return Math.max(0, low - 1)
}

/** How full an address space is over time, as a picture: time to the right, addresses up, colour by rights. */
import { MapFlag } from '../iommu/mapping-flags.ts'
import type { AddressAxis, Band } from './address-axis.ts'
import type { Mapping } from './mapping.ts'
import { type Colour, encodePng } from './png.ts'

/** Rights with a colour of their own, in the order of the palette. */
export const RIGHTS = ['read', 'write', 'read and write', 'registers', 'none'] as const
/** The same colours as in the style sheet. */
const COLOURS = [
  [0x3b, 0x82, 0xf6],
  [0xf5, 0x9e, 0x0b],
  [0x10, 0xb9, 0x81],
  [0xa8, 0x55, 0xf7],
  [0x94, 0xa3, 0xb8],
] as const
/** Steps of a colour, from a little to full. */
const ALPHAS = [64, 104, 144, 184, 220, 255]

export interface OccupancyOptions {
  readonly axis: AddressAxis
  /** Only mappings of this band are drawn. */
  readonly band: Band
  readonly columns: number
  readonly firstMs: number
  readonly lastMs: number
}

/** Place of a mapping's rights among `RIGHTS`. */
export function rightsOf(flags: number): number {
  if ((flags & MapFlag.mmio) !== 0) return 3
  const rights = flags & (MapFlag.read | MapFlag.write)
  return rights === 0 ? 4 : rights - 1
}

/** The picture as a PNG: one pixel for each column and row of the band. */
export function occupancyPng(mappings: readonly Mapping[], options: OccupancyOptions): Uint8Array {
  const { axis, band, columns, firstMs, lastMs } = options
  const { rows } = band
  const layers = RIGHTS.map(() => new Layer(columns, rows))
  const scale = columns / Math.max(1e-6, lastMs - firstMs)
  for (const { start, end, flags, bornMs, diedMs = lastMs } of mappings) {
    if (start < band.start || end > band.end) continue
    const low = (axis.row(start) ?? band.row) - band.row
    const high = (axis.row(end + 1) ?? band.row + rows) - band.row
    const left = (bornMs - firstMs) * scale
    layers[rightsOf(flags)]?.add(left, Math.min(columns, (diedMs - firstMs) * scale), low, Math.min(rows, high))
  }
  for (const layer of layers) layer.sum()
  const pixels = new Uint8Array(columns * rows)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const from = (rows - 1 - row) * columns + column
      pixels[row * columns + column] = paletteIndex(layers.map(layer => layer.cells[from] ?? 0))
    }
  return encodePng(columns, rows, pixels, palette())
}

/** The strongest right's colour, as strong as all of them cover the cell. */
function paletteIndex(coverage: readonly number[]): number {
  const total = coverage.reduce((sum, value) => sum + value, 0)
  if (total < 1e-9) return 0
  const strongest = coverage.indexOf(Math.max(...coverage))
  // What was mapped for a moment only is seen as well.
  const level = Math.min(ALPHAS.length - 1, Math.floor(total * ALPHAS.length))
  return 1 + strongest * ALPHAS.length + level
}

function palette(): readonly Colour[] {
  const colours: Colour[] = [[0, 0, 0, 0]]
  for (const [red, green, blue] of COLOURS) for (const alpha of ALPHAS) colours.push([red, green, blue, alpha])
  return colours
}

/** Coverage of cells by rectangles: their edges as they come, and the whole cells between as differences. */
class Layer {
  readonly cells: Float32Array
  private readonly differences: Float32Array

  constructor(
    private readonly columns: number,
    private readonly rows: number,
  ) {
    this.cells = new Float32Array(columns * rows)
    this.differences = new Float32Array((columns + 1) * rows)
  }

  add(left: number, right: number, low: number, high: number): void {
    for (let row = Math.floor(low); row < Math.min(this.rows, high); row++)
      this.addRow(row, left, right, Math.min(high, row + 1) - Math.max(low, row))
  }

  sum(): void {
    for (let row = 0; row < this.rows; row++) {
      let sum = 0
      for (let column = 0; column < this.columns; column++) {
        sum += this.differences[row * (this.columns + 1) + column] ?? 0
        const at = row * this.columns + column
        this.cells[at] = (this.cells[at] ?? 0) + sum
      }
    }
  }

  private addRow(row: number, left: number, right: number, share: number): void {
    const first = Math.min(this.columns - 1, Math.floor(left))
    const last = Math.min(this.columns - 1, Math.floor(right))
    if (first === last) {
      this.cover(row, first, Math.max(1e-6, right - left) * share)
      return
    }
    this.cover(row, first, (first + 1 - left) * share)
    this.cover(row, last, (right - last) * share)
    this.difference(row, first + 1, share)
    this.difference(row, last, -share)
  }

  private cover(row: number, column: number, share: number): void {
    const at = row * this.columns + column
    this.cells[at] = (this.cells[at] ?? 0) + share
  }

  private difference(row: number, column: number, share: number): void {
    const at = row * (this.columns + 1) + column
    this.differences[at] = (this.differences[at] ?? 0) + share
  }
}

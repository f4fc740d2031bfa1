/** The picture of a domain's address space: time to the right, addresses up, each mapping as long as it lived. */
import { AddressAxis, type Band } from './address-axis.ts'
import { ticks } from './axis.ts'
import { type Html, html } from './html.ts'
import type { Mapping } from './mapping.ts'
import { occupancyPng, RIGHTS, rightsOf } from './occupancy.ts'
import { formatAddress, formatBytes, formatRange, formatRights, formatTime } from './units.ts'

/** More mappings are drawn as coverage. */
const MAX_DRAWN = 1500
/** The drawing's own units. */
const WIDTH = 1000
const LEFT = 150
const PLOT = WIDTH - LEFT - 10
const TOP = 10
const BOTTOM = 26
/** Columns of the coverage. */
const COLUMNS = PLOT / 2
const ROWS = 130
const ROW_HEIGHT = 2
/** Of a line of text. */
const LABEL_HEIGHT = 14
/** Between bands, for what is left out. */
const GAP = 18

/** Something at one moment and address. */
export interface Mark {
  readonly atMs: number
  readonly address: number
  readonly text: string
}

export interface PictureOptions {
  readonly mappings: readonly Mapping[]
  readonly firstMs: number
  readonly lastMs: number
  readonly faults: readonly Mark[]
  readonly resets: readonly number[]
}

/** Where things are in the drawing. */
interface Scale {
  readonly axis: AddressAxis
  readonly bands: readonly Band[]
  readonly height: number
  readonly x: (atMs: number) => number
  /** Upper edge of a row, which may have a fraction and counts from the lowest address. */
  readonly y: (row: number, band: number) => number
}

/** The drawing; undefined when nothing was ever mapped. */
export function domainPicture(options: PictureOptions): Html | undefined {
  const axis = new AddressAxis(options.mappings, ROWS)
  const { bands } = axis
  if (bands.length === 0) return undefined
  const scale = makeScale(axis, options)
  const { height } = scale
  const data = JSON.stringify({
    left: LEFT,
    width: PLOT,
    firstMs: options.firstMs,
    lastMs: options.lastMs,
    rowHeight: ROW_HEIGHT,
    // The address of each row, from the upper edge down.
    bands: bands.map((band, index) => ({
      top: scale.y(band.row + band.rows, index),
      rows: Array.from({ length: band.rows }, (_, row) => axis.address(band.row + band.rows - 1 - row, band)),
    })),
  })
  return html`<figure class="picture" data-picture="${data}">
<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Mappings over time">
${bands.map((band, index) => frame(band, index, scale))}
${timeAxis(options, scale)}
${options.mappings.length <= MAX_DRAWN ? rectangles(options, scale) : coverage(options, scale)}
${options.resets.map(atMs => html`<line class="reset" x1="${px(scale.x(atMs))}" x2="${px(scale.x(atMs))}" y1="${TOP}" y2="${height - BOTTOM}"><title>reset at ${formatTime(atMs)}</title></line>`)}
${options.faults.map(mark => cross(mark, scale))}
</svg>
<figcaption>&#160;</figcaption>
</figure>`
}

function makeScale(axis: AddressAxis, { firstMs, lastMs }: PictureOptions): Scale {
  const { bands, rows } = axis
  const span = Math.max(1e-6, lastMs - firstMs)
  const bottom = TOP + rows * ROW_HEIGHT + (bands.length - 1) * GAP
  return {
    axis,
    bands,
    height: bottom + BOTTOM,
    x: atMs => LEFT + ((atMs - firstMs) / span) * PLOT,
    y: (row, band) => bottom - row * ROW_HEIGHT - band * GAP,
  }
}

/** A band's ground, its addresses, and what is left out below it. */
function frame(band: Band, index: number, scale: Scale): Html {
  const { y, bands } = scale
  const top = y(band.row + band.rows, index)
  const height = band.rows * ROW_HEIGHT
  const before = bands[index - 1]
  const size = formatBytes(band.end - band.start + 1)
  return html`<rect class="ground" x="${LEFT}" y="${top}" width="${PLOT}" height="${height}"><title>${formatRange(band.start, band.end)} (${size})</title></rect>
${labels(band, scale).map(address => {
  const at = place(address, scale)
  return html`<text class="address" x="${LEFT - 6}" y="${px(Math.min(top + height, Math.max(top + 9, at + 3)))}">${formatAddress(address)}</text>
`
})}${before !== undefined && html`<text class="gap" x="${LEFT + PLOT / 2}" y="${top + height + GAP - 5}">${formatBytes(band.start - before.end - 1)} never mapped</text>`}`
}

/** Addresses to be written beside a band: its own, and those of edges between as far as there is room. */
function labels(band: Band, { axis }: Scale): readonly number[] {
  const room = Math.ceil(LABEL_HEIGHT / ROW_HEIGHT)
  if (band.rows < 2 * room) return [band.start]
  const chosen = [band.start]
  // Those of the band's own ends are moved inwards a little.
  let last = band.row + room / 2
  const top = band.row + band.rows - room / 2
  for (let row = band.row + room; row <= top - room; row++) {
    const edge = axis.edgeBelow(row, band)
    const at = axis.row(edge) ?? last
    if (at < last + room || at > top - room) continue
    chosen.push(edge)
    // Every other one would do: addresses are to be found, not to be read as a list.
    last = at + room
  }
  return [...chosen, band.end]
}

function timeAxis({ firstMs, lastMs }: PictureOptions, { x, height }: Scale): readonly Html[] {
  return ticks(firstMs, lastMs, 8).map(
    atMs => html`<line class="tick" x1="${px(x(atMs))}" x2="${px(x(atMs))}" y1="${TOP}" y2="${height - BOTTOM + 4}"></line>
<text class="time" x="${px(x(atMs))}" y="${height - 8}">${formatTime(atMs)}</text>`,
  )
}

/** Every mapping for itself. */
function rectangles({ mappings, lastMs }: PictureOptions, scale: Scale): readonly Html[] {
  return mappings.map(mapping => {
    const { start, end, phys, flags, seq, bornMs, diedMs, endedBy } = mapping
    const low = place(start, scale)
    const high = place(end + 1, scale)
    const left = scale.x(bornMs)
    const width = Math.max(1.5, scale.x(diedMs ?? lastMs) - left)
    // One that is thinner than a line is drawn as one.
    const height = Math.max(1.5, low - high)
    const life =
      diedMs === undefined
        ? `mapped at ${formatTime(bornMs)}, never removed`
        : `mapped at ${formatTime(bornMs)} for ${formatTime(diedMs - bornMs)}, until ${endedBy ?? ''}`
    const title = `${formatRange(start, end)} to ${formatAddress(phys)} (${formatBytes(end - start + 1)}, ${formatRights(flags)}, MAP #${seq}) ${life}`
    const style = `r${rightsOf(flags)}${diedMs === undefined ? ' live' : ''}`
    return html`<rect class="${style}" x="${px(left)}" y="${px(low - height)}" width="${px(width)}" height="${px(height)}"><title>${title}</title></rect>
`
  })
}

/** All mappings as one picture for each band: its rows of the whole. */
function coverage(options: PictureOptions, { axis, bands, y }: Scale): readonly Html[] {
  return bands.map((band, index) => {
    const png = occupancyPng(options.mappings, { ...options, axis, band, columns: COLUMNS })
    const url = `data:image/png;base64,${Buffer.from(png).toString('base64')}`
    return html`<image href="${url}" x="${LEFT}" y="${y(band.row + band.rows, index)}" width="${PLOT}" height="${band.rows * ROW_HEIGHT}" preserveAspectRatio="none"></image>
`
  })
}

function cross({ atMs, address, text }: Mark, scale: Scale): Html {
  const x = px(scale.x(atMs))
  const y = px(place(address, scale))
  const title = `fault at ${formatTime(atMs)}, ${formatAddress(address)}: ${text}`
  return html`<g class="fault" transform="translate(${x} ${y})"><circle r="7"><title>${title}</title></circle><path d="M-4-4 4 4M4-4-4 4"></path></g>`
}

/** Height of an address; one that was never mapped lies in the gap above what is below it. */
function place(address: number, { axis, bands, y }: Scale): number {
  const inside = bands.findIndex(({ start, end }) => address >= start && address <= end + 1)
  const row = axis.row(address)
  if (inside >= 0 && row !== undefined) return y(row, inside)
  const below = bands.findLastIndex(({ end }) => end < address)
  const band = bands[below]
  return band === undefined ? y(0, 0) + 4 : y(band.row + band.rows, below) - 5
}

function px(value: number): number {
  return Math.round(value * 10) / 10
}

/** What the colours mean. */
export function rightsLegend(): Html {
  return html`<p class="legend">${RIGHTS.slice(0, 4).map((name, index) => html`<span><i class="r${index}"></i>${name}</span>`)}<span><i class="cross">&#215;</i>fault</span></p>`
}

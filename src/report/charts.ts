/** Charts of a report: requests over time, and how values are spread. */
import { ticks } from './axis.ts'
import type { Summary } from './histogram.ts'
import { type Html, html } from './html.ts'
import { KINDS, type Report } from './report.ts'
import { formatCount, formatTime, plural } from './units.ts'

/** The drawing's own units. */
const WIDTH = 1000
const LEFT = 70
const PLOT = WIDTH - LEFT - 10
const HEIGHT = 200
const TOP = 8
const BOTTOM = 26

/** Names of the timeline's counts, in the order of the stack. */
export const SERIES = [...KINDS, 'fault'] as const

/** Requests and faults in each step of time, one on the other. */
export function requestChart(report: Report): Html {
  const { timeline, firstMs, lastMs } = report
  const sums = timeline.steps.map(({ counts }) => counts.reduce((sum, count) => sum + count, 0))
  const top = Math.max(1, ...sums)
  const frame = { firstMs, stepMs: timeline.stepMs, lastMs: Math.max(lastMs, firstMs + timeline.stepMs), top }
  const scale = PLOT / ((frame.lastMs - firstMs) / timeline.stepMs)
  const bars = timeline.steps.map(({ counts }, index) => {
    const from = firstMs + index * timeline.stepMs
    const parts = counts.map((count, kind) => (count > 0 ? `${formatCount(count)} ${SERIES[kind] ?? ''}` : ''))
    const title = `${formatTime(from)} to ${formatTime(from + timeline.stepMs)}: ${parts.filter(Boolean).join(', ')}`
    let base = 0
    const rects = counts.map((count, kind) => {
      if (count === 0) return undefined
      base += count
      const y = TOP + HEIGHT * (1 - base / top)
      const size = html`x="${px(LEFT + index * scale)}" y="${px(y)}" width="${px(Math.max(0.8, scale - 0.4))}" height="${px((HEIGHT * count) / top)}"`
      return html`<rect class="k${kind}" ${size}></rect>`
    })
    return base === 0
      ? undefined
      : html`<g><title>${title}</title>${rects}</g>
`
  })
  return html`<figure><svg viewBox="0 0 ${WIDTH} ${TOP + HEIGHT + BOTTOM}" role="img" aria-label="Requests over time">
${axes(frame)}
${bars}</svg></figure>`
}

/** Mappings that were there, over time. */
export function residentChart({ timeline, firstMs, lastMs }: Report): Html {
  const top = Math.max(1, ...timeline.steps.map(({ peak }) => peak))
  const frame = { firstMs, stepMs: timeline.stepMs, lastMs: Math.max(lastMs, firstMs + timeline.stepMs), top }
  const scale = PLOT / ((frame.lastMs - firstMs) / timeline.stepMs)
  const bottom = TOP + HEIGHT
  let path = `M${LEFT} ${bottom}`
  for (const [index, { peak }] of timeline.steps.entries()) {
    const right = Math.min(LEFT + PLOT, LEFT + (index + 1) * scale)
    path += `V${px(TOP + HEIGHT * (1 - peak / top))}H${px(right)}`
  }
  return html`<figure><svg viewBox="0 0 ${WIDTH} ${bottom + BOTTOM}" role="img" aria-label="Mappings over time">
${axes(frame)}
<path class="area" d="${path}V${bottom}Z"></path></svg></figure>`
}

/** Bars by doublings; `unit` makes a bar's edge a text. */
export function histogramChart({ bars }: Summary, noun: string, unit: (value: number) => string): Html {
  const width = 460
  const height = 110
  const top = Math.max(1, ...bars.map(({ count }) => count))
  const step = Math.min(60, width / Math.max(1, bars.length))
  // As many labels as have room.
  const every = Math.ceil(60 / step)
  return html`<figure class="histogram"><svg viewBox="0 0 ${width} ${height + 22}" role="img" aria-label="Distribution">
${bars.map(({ low, high, count }, index) => {
  const y = px(height * (1 - count / top))
  // A single one among a million is still a line.
  const size = count === 0 ? 0 : Math.max(1.5, px(height - y))
  return html`<g><title>${unit(low)} to ${unit(high)}: ${plural(count, noun)}</title><rect class="ground" x="${px(index * step)}" y="0" width="${px(step - 2)}" height="${height}"></rect><rect class="bar" x="${px(index * step)}" y="${px(height - size)}" width="${px(step - 2)}" height="${size}"></rect></g>
${index % every === 0 && html`<text class="time start" x="${px(index * step)}" y="${height + 16}">${unit(low)}</text>`}`
})}</svg></figure>`
}

/** What a chart's axes show. */
interface Frame {
  readonly firstMs: number
  readonly lastMs: number
  readonly top: number
}

function axes({ firstMs, lastMs, top }: Frame): readonly Html[] {
  const x = (atMs: number) => px(LEFT + ((atMs - firstMs) / (lastMs - firstMs)) * PLOT)
  const counts = ticks(0, top, 4).filter(Number.isInteger)
  return [
    ...counts.map(count => {
      const y = px(TOP + HEIGHT * (1 - count / top))
      return html`<line class="tick" x1="${LEFT}" x2="${LEFT + PLOT}" y1="${y}" y2="${y}"></line><text class="address" x="${LEFT - 6}" y="${y + 4}">${formatCount(count)}</text>
`
    }),
    ...ticks(firstMs, lastMs, 8).map(
      atMs => html`<text class="time" x="${x(atMs)}" y="${TOP + HEIGHT + 18}">${formatTime(atMs)}</text>
`,
    ),
  ]
}

function px(value: number): number {
  return Math.round(value * 10) / 10
}

/** A report for a terminal: the page's facts in at most 60 lines. */
import type { Report } from './report.ts'
import { textTable } from './text-table.ts'
import { formatAddress, formatBytes, formatCount, formatRange, formatRights, formatTime, plural } from './units.ts'
import { verdicts } from './verdicts.ts'

/** Rows of each table, the most that all have room for; the rest is counted. */
const ROWS = [12, 8, 5, 4, 3, 2]
const MAX_LINES = 60
/** A sentence is cut beyond. */
const MAX_TEXT = 100
const BAR = 24

/** The text, each line ended. */
export function reportText(report: Report): string {
  const texts = ROWS.map(rows => linesOf(report, rows))
  const lines = texts.find(text => text.length <= MAX_LINES) ?? texts.at(-1) ?? []
  return lines.map(line => `${plain(line)}\n`).join('')
}

function linesOf(report: Report, rows: number): readonly string[] {
  const { name, firstMs, lastMs, lines, requests, failed } = report
  const title = `${name}: ${formatTime(lastMs - firstMs)}, ${plural(lines, 'line')}, ${plural(requests, 'request')}, ${formatCount(failed)} failed`
  const found = verdicts(report).map(({ level, text }) => `  ${level === 'bad' ? '!' : '-'} ${text}`)
  const blocks = [
    [title, ...(found.length === 0 ? ['  nothing wants attention'] : found)],
    latency(report),
    domains(report, rows),
    lifetimes(report),
    findings(report, rows),
    faults(report, rows),
    failures(report, rows),
    leaks(report, rows),
    waits(report, rows),
  ]
  return blocks.filter(block => block.length > 0).flatMap((block, index) => (index === 0 ? block : ['', ...block]))
}

/** What a trace holds may be anything; a line stays one line and moves no cursor. */
function plain(line: string): string {
  return line.replace(/\p{Cc}/gu, '?')
}

function latency({ kinds }: Report): readonly string[] {
  if (kinds.length === 0) return []
  const us = (value: number) => formatTime(value / 1000)
  return textTable(
    ['requests', '#count', '#failed', '#mean', '#50 %', '#90 %', '#99 %', '#longest'],
    kinds.map(({ kind, count, failed, latency: { mean, p50, p90, p99, max } }) => [
      kind,
      formatCount(count),
      formatCount(failed),
      ...[mean, p50, p90, p99, max].map(us),
    ]),
  )
}

function domains({ domains }: Report, most: number): readonly string[] {
  return limited(
    most,
    ['#domain', 'endpoints', '#maps', '#at most', '#bytes', '#at the end', '#bytes', '#runs'],
    domains.map(domain => [
      String(domain.id),
      domain.endpoints.join(' ') + (domain.bypass ? ' (bypass)' : ''),
      formatCount(domain.maps),
      formatCount(domain.peakMappings),
      formatBytes(domain.peakBytes),
      formatCount(domain.mappings),
      formatBytes(domain.bytes),
      formatCount(domain.runs),
    ]),
  )
}

/** A line for each of a few spans of time. */
function lifetimes({ lifetimes: { count, p50, p99, max, bars } }: Report): readonly string[] {
  if (count === 0) return []
  const title = `lifetimes of ${plural(count, 'mapping')}: half within ${formatTime(p50)}, 99 % within ${formatTime(p99)}, all within ${formatTime(max)}`
  // Several doublings a line where there are many.
  const width = Math.ceil(bars.length / 6)
  const grouped = Array.from({ length: Math.ceil(bars.length / width) }, (_, index) => {
    const group = bars.slice(index * width, (index + 1) * width)
    return { low: group[0]?.low ?? 0, count: group.reduce((sum, bar) => sum + bar.count, 0) }
  })
  const top = Math.max(...grouped.map(bar => bar.count))
  const rows = grouped.map(bar => [
    'from',
    formatTime(bar.low),
    formatCount(bar.count),
    '#'.repeat(Math.ceil((bar.count / top) * BAR)),
  ])
  return [title, ...textTable(['', '#', '#', ''], rows).slice(1)]
}

function findings({ findings }: Report, most: number): readonly string[] {
  return limited(
    most,
    ['breaches', '#count', '#first', 'section', 'what'],
    findings.map(({ name, count, seq, atMs, section, text }) => [
      name,
      formatCount(count),
      seq === undefined ? formatTime(atMs) : `#${seq}`,
      section,
      cut(text),
    ]),
  )
}

function faults({ faults }: Report, most: number): readonly string[] {
  return limited(
    most,
    ['faults', '#domain', 'access', '#count', 'cause', '#first', 'for example'],
    faults.map(({ name, domain, access, count, cause, firstMs, examples, low }) => [
      name,
      String(domain ?? ''),
      access,
      formatCount(count),
      cause,
      formatTime(firstMs),
      cut(`${formatAddress(examples[0]?.address ?? low)} ${examples[0]?.text ?? ''}`),
    ]),
  )
}

function failures({ failures }: Report, most: number): readonly string[] {
  return limited(
    most,
    ['failed', 'status', '#count', '#first', 'fields'],
    failures.map(({ request, status, count, seq, detail }) => [
      request,
      status,
      formatCount(count),
      `#${seq}`,
      cut(detail),
    ]),
  )
}

function leaks({ leaks }: Report, most: number): readonly string[] {
  return limited(
    most,
    ['#never removed', '#of', 'rights', '#domain', '#together', '#oldest', 'first'],
    leaks.map(({ count, sizeBytes, flags, domain, bytes, oldestMs, examples: [first] }) => [
      formatCount(count),
      formatBytes(sizeBytes),
      formatRights(flags),
      String(domain),
      formatBytes(bytes),
      formatTime(oldestMs),
      first === undefined ? '' : `${formatRange(first.start, first.end)} (MAP #${first.seq})`,
    ]),
  )
}

function waits({ longestWaits }: Report, most: number): readonly string[] {
  return limited(
    most,
    ['#waited', '#at', 'cause', '#domain', 'range', 'for'],
    longestWaits.map(({ waitedUs, atMs, cause, domain, start, end, endpoints }) => [
      formatTime(waitedUs / 1000),
      formatTime(atMs),
      cause,
      String(domain ?? ''),
      `${start}-${end}`,
      endpoints.join(' '),
    ]),
  )
}

/** A table of the first rows, and how many more there are; nothing for none. */
function limited(most: number, titles: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  if (rows.length === 0) return []
  const more = rows.length - most
  // A line that says "1 more" takes the place of that one.
  if (more <= 1) return textTable(titles, rows)
  return [...textTable(titles, rows.slice(0, most)), `  and ${formatCount(more)} more`]
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 3)}...` : text
}

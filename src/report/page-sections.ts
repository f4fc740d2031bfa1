/** The sections of a report's page that are tables. */
import { type Html, html, type Insert } from './html.ts'
import type { Report } from './report.ts'
import { formatAddress, formatBytes, formatCount, formatRange, formatRights, formatTime, plural } from './units.ts'

/** Rows of a table at most; the rest is only counted. */
const MAX_ROWS = 50

/** A section with an id to go to. */
export function section(id: string, title: string, ...content: readonly Insert[]): Html {
  return html`<section id="${id}"><h2>${title}</h2>
${content}</section>
`
}

/** A column: its title, a "#" before it for figures. */
export function tableOf(columns: readonly string[], rows: readonly (readonly Insert[])[]): Html {
  const style = (index: number) => (columns[index]?.startsWith('#') === true ? html` class="n"` : undefined)
  const more = rows.length - MAX_ROWS
  return html`<div class="scroll"><table><thead><tr>${columns.map((name, index) => html`<th${style(index)}>${name.replace('#', '')}</th>`)}</tr></thead><tbody>
${rows.slice(0, MAX_ROWS).map(
  row => html`<tr>${row.map((cell, index) => html`<td${style(index)}>${cell}</td>`)}</tr>
`,
)}</tbody></table></div>${more > 0 && html`<p class="dim">and ${formatCount(more)} more</p>`}`
}

export function leakSection({ leaks, leakedMappings, leakedBytes, resetMappings }: Report): Html {
  if (leakedMappings === 0)
    return section('leaks', 'Never removed', html`<p class="good">The driver removed every mapping.</p>`)
  return section(
    'leaks',
    'Never removed',
    html`<p class="dim">${plural(leakedMappings, 'mapping')} (${formatBytes(leakedBytes)}) that the driver did not remove; ${formatCount(resetMappings)} went with a reset, the others were there at the end. Rings and other memory that drivers keep for as long as they run are among them.</p>`,
    tableOf(
      ['#together', '#mappings', '#of', 'rights', '#domain', '#oldest', '#youngest', 'first ones'],
      leaks.map(leak => [
        formatBytes(leak.bytes),
        formatCount(leak.count),
        formatBytes(leak.sizeBytes),
        formatRights(leak.flags),
        leak.domain,
        formatTime(leak.oldestMs),
        formatTime(leak.youngestMs),
        html`<code>${leak.examples
          .slice(0, 4)
          .map(({ start, seq }) => `${formatAddress(start)} (#${seq})`)
          .join(' ')}</code>`,
      ]),
    ),
  )
}

export function failureSection({ failures }: Report): Html {
  if (failures.length === 0)
    return section('failed', 'Failed requests', html`<p class="good">Every request was answered with OK.</p>`)
  return section(
    'failed',
    'Failed requests',
    tableOf(
      ['request', 'status', '#count', '#first', '#at', 'fields', 'bytes'],
      failures.map(({ request, status, count, seq, atMs, detail, bytes }) => [
        request,
        status,
        formatCount(count),
        `#${seq}`,
        formatTime(atMs),
        html`<code>${detail}</code>`,
        html`<code>${spaced(bytes)}</code>`,
      ]),
    ),
  )
}

export function faultSection({ faults, faultCount, drops }: Report): Html {
  if (faultCount === 0) return section('faults', 'Faults', html`<p class="good">No access was refused.</p>`)
  return section(
    'faults',
    'Faults',
    drops.map(({ cause, count }) => html`<p class="bad">${formatCount(count)} not told to the driver: ${cause}</p>`),
    tableOf(
      ['endpoint', '#domain', 'access', '#count', 'cause', 'addresses', '#first', '#last', 'the first ones'],
      faults.map(fault => [
        html`${fault.name} <small>${formatAddress(fault.endpoint)}</small>`,
        fault.domain ?? '',
        fault.access,
        formatCount(fault.count),
        fault.cause,
        html`<code>${fault.low === fault.high ? formatAddress(fault.low) : formatRange(fault.low, fault.high)}</code>`,
        formatTime(fault.firstMs),
        formatTime(fault.lastMs),
        examplesOf(fault),
      ]),
    ),
  )
}

function examplesOf({ examples }: Report['faults'][number]): Html {
  const lines = examples.map(
    ({ atMs, address, text }) => html`<div>${formatTime(atMs)} <code>${formatAddress(address)}</code> ${text}</div>`,
  )
  if (lines.length <= 2) return html`${lines}`
  return html`${lines[0]}<details><summary>${lines.length - 1} more</summary>${lines.slice(1)}</details>`
}

export function findingSection({ findings }: Report): Html {
  if (findings.length === 0)
    return section('findings', 'Breaches of the specification', html`<p class="good">None was seen.</p>`)
  return section(
    'findings',
    'Breaches of the specification',
    tableOf(
      ['rule', 'section', '#count', '#first', 'what', 'bytes'],
      findings.map(({ name, section: rule, count, seq, atMs, text, bytes }) => [
        html`<b>${name}</b>`,
        rule,
        formatCount(count),
        seq === undefined ? formatTime(atMs) : `#${seq}`,
        text,
        html`<code>${spaced(bytes)}</code>`,
      ]),
    ),
  )
}

export function waitSection({ waits, longestWaits, invalidations }: Report): Html {
  const all = `${formatCount(invalidations)} invalidations, ${formatCount(waits)} of which had to wait until a device let go of memory`
  return section(
    'waits',
    'Invalidations that waited',
    html`<p class="dim">${all}.</p>`,
    longestWaits.length > 0 &&
      tableOf(
        ['#waited', '#at', 'cause', '#domain', 'range', '#mappings', 'endpoints'],
        longestWaits.map(({ waitedUs, atMs, cause, domain, start, end, mappings, endpoints }) => [
          formatTime(waitedUs / 1000),
          formatTime(atMs),
          cause,
          domain ?? '',
          html`<code>${start}-${end}</code>`,
          formatCount(mappings),
          endpoints.join(', '),
        ]),
      ),
  )
}

export function lifeSection({ life }: Report): Html | undefined {
  if (life.length === 0) return undefined
  const rows = life.map(({ atMs, what }) => [formatTime(atMs), html`<code>${what}</code>`])
  return section('life', 'The device', tableOf(['#at', 'what'], rows))
}

/** Bytes in groups of four, as the words of requests are. */
function spaced(bytes: string): string {
  return bytes.replace(/(.{8})(?=.)/g, '$1 ')
}

/** A report as one HTML page that needs nothing else: style, pictures and script are in it. */
import { histogramChart, requestChart, residentChart, SERIES } from './charts.ts'
import { Html, html, type Insert } from './html.ts'
import type { Mapping } from './mapping.ts'
import { PAGE_SCRIPT } from './page-script.ts'
import {
  failureSection,
  faultSection,
  findingSection,
  leakSection,
  lifeSection,
  section,
  tableOf,
  waitSection,
} from './page-sections.ts'
import { PAGE_STYLE } from './page-style.ts'
import { domainPicture, rightsLegend } from './picture.ts'
import type { DomainReport, Report } from './report.ts'
import type { BuiltReport } from './report-builder.ts'
import { formatAddress, formatBytes, formatCount, formatTime, plural } from './units.ts'
import { verdicts } from './verdicts.ts'

/** Domains with a picture; there is a line in a table for each. */
const MAX_PICTURES = 16
/** Fewer latencies have no distribution to look at. */
const MIN_LATENCIES = 16
/** Marks of faults in one picture. */
const MAX_MARKS = 100

const SECTIONS = [
  ['spaces', 'Address spaces'],
  ['time', 'Over time'],
  ['latency', 'Latency'],
  ['lifetimes', 'Lifetimes'],
  ['leaks', 'Never removed'],
  ['failed', 'Failed'],
  ['faults', 'Faults'],
  ['findings', 'Breaches'],
  ['waits', 'Waits'],
] as const

/** The page's text. */
export function reportPage({ report, mappings }: BuiltReport): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>IOMMU trace: ${report.name}</title>
<style>${new Html(PAGE_STYLE)}</style>
</head>
<body>
<main>
${heading(report)}
${summary(report)}
${spaces(report, mappings)}
${overTime(report)}
${latency(report)}
${lifetimes(report)}
${leakSection(report)}
${failureSection(report)}
${faultSection(report)}
${findingSection(report)}
${waitSection(report)}
${lifeSection(report)}
</main>
<script>${new Html(PAGE_SCRIPT)}</script>
</body>
</html>
`
  return page.text
}

function heading(report: Report): Html {
  const { name, firstMs, lastMs, lines, granule, input, bypass } = report
  const facts = [
    formatTime(lastMs - firstMs),
    plural(lines, 'line'),
    ...(granule === undefined ? [] : [`granule ${formatBytes(granule)}`]),
    ...(input === undefined ? [] : [`input ${input[0]}-${input[1]}`]),
    ...(bypass === undefined ? [] : [`bypass ${bypass ? 'on' : 'off'} at the start`]),
  ]
  return html`<header><h1>IOMMU trace</h1><span class="mono">${name}</span><span class="dim">${facts.join(' \u00b7 ')}</span></header>
<nav>${SECTIONS.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</nav>`
}

function summary(report: Report): Html {
  const found = verdicts(report)
  const breaches = report.findings.reduce((sum, { count }) => sum + count, 0)
  return html`<div class="cards">
${card(formatCount(report.requests), 'requests')}
${card(formatCount(report.failed), 'failed', report.failed > 0)}
${card(formatCount(report.faultCount), 'faults', report.faultCount > 0)}
${card(formatCount(breaches), 'breaches', breaches > 0)}
${card(formatCount(report.peakMappings), 'mappings at most')}
${card(formatBytes(report.peakBytes), 'mapped at most')}
${card(formatCount(report.leakedMappings), 'never removed')}
</div>
${section(
  'summary',
  found.length === 0 ? 'Nothing wants attention' : 'What wants attention',
  found.length === 0
    ? html`<p class="good">No request failed, no access was refused, no rule was broken, and the driver removed every mapping.</p>`
    : html`<ul class="verdicts">${found.map(({ level, text, section: id }) => html`<li class="${level}"><a href="#${id}">${text}</a></li>`)}</ul>`,
)}`
}

function card(value: string, name: string, isBad = false): Html {
  return html`<div class="card${isBad && ' bad'}"><b>${value}</b><small>${name}</small></div>
`
}

function spaces(report: Report, mappings: ReadonlyMap<number, readonly Mapping[]>): Html {
  const { domains, firstMs, lastMs } = report
  const resets = report.life.filter(({ what }) => what === 'reset').map(({ atMs }) => atMs)
  const marksOf = (domain: number) =>
    report.faults
      .filter(fault => fault.domain === domain)
      .flatMap(({ examples, name, access }) =>
        examples.map(({ atMs, address, text }) => ({ atMs, address, text: `${access} by ${name}, ${text}` })),
      )
      .slice(0, MAX_MARKS)
  // The busiest have pictures.
  const drawn = new Set([...domains].sort((a, b) => b.maps - a.maps).slice(0, MAX_PICTURES))
  const pictures = domains
    .filter(domain => drawn.has(domain))
    .map(domain => {
      const options = { mappings: mappings.get(domain.id) ?? [], firstMs, lastMs, faults: marksOf(domain.id), resets }
      return html`<h3>Domain ${domain.id} <small>${domainLine(domain)}</small></h3>
${domainPicture(options) ?? html`<p class="dim">${domain.bypass ? 'Addresses pass unchanged.' : 'Nothing was mapped.'}</p>`}
`
    })
  return section(
    'spaces',
    'Address spaces',
    html`<p class="dim">Time runs to the right and addresses go up; ranges that were never mapped are left out, and larger ones have room by the logarithm of their size.</p>`,
    rightsLegend(),
    pictures.length === 0 ? html`<p>No endpoint was attached to a domain.</p>` : pictures,
    endpointTable(report),
  )
}

function domainLine({ endpoints, maps, peakMappings, peakBytes, mappings, bytes, runs }: DomainReport): string {
  const end =
    mappings === 0
      ? 'none at the end'
      : `${formatCount(mappings)} (${formatBytes(bytes)}) in ${plural(runs, 'run')} at the end`
  const most = `at most ${plural(peakMappings, 'mapping')}, ${formatBytes(peakBytes)}`
  return `${endpoints.join(', ') || 'no endpoint'} \u00b7 ${plural(maps, 'MAP')} \u00b7 ${most} \u00b7 ${end}`
}

function endpointTable({ endpoints, domains }: Report): Insert {
  if (endpoints.length === 0) return undefined
  const domainsOf = (name: string) => domains.filter(domain => domain.endpoints.includes(name)).map(({ id }) => id)
  return html`<h3>Endpoints</h3>${tableOf(
    ['name', '#id', 'domains', '#faults'],
    endpoints.map(({ id, name, faults }) => [name, formatAddress(id), domainsOf(name).join(', '), formatCount(faults)]),
  )}`
}

function overTime(report: Report): Html {
  const used = SERIES.map((name, kind) => ({
    name,
    kind,
    count: report.timeline.steps.reduce((sum, { counts }) => sum + (counts[kind] ?? 0), 0),
  })).filter(({ count }) => count > 0)
  return section(
    'time',
    'Over time',
    html`<p class="legend">${used.map(({ name, kind, count }) => html`<span><i class="k${kind}"></i>${name} ${formatCount(count)}</span>`)}</p>`,
    html`<h3>Requests <small>in steps of ${formatTime(report.timeline.stepMs)}</small></h3>`,
    requestChart(report),
    html`<h3>Mappings</h3>`,
    residentChart(report),
  )
}

function latency({ kinds }: Report): Html {
  const us = (value: number) => formatTime(value / 1000)
  return section(
    'latency',
    'Latency',
    html`<p class="dim">From reading a request to its answer, waiting for devices included.</p>`,
    tableOf(
      ['request', '#count', '#failed', '#mean', '#50 %', '#90 %', '#99 %', '#longest'],
      kinds.map(({ kind, count, failed, latency: { mean, p50, p90, p99, max } }) => [
        kind,
        formatCount(count),
        formatCount(failed),
        ...[mean, p50, p90, p99, max].map(us),
      ]),
    ),
    html`<div class="pair">${kinds
      .filter(kind => kind.latency.count >= MIN_LATENCIES)
      .map(kind => html`<div><h3>${kind.kind}</h3>${histogramChart(kind.latency, 'request', us)}</div>`)}</div>`,
  )
}

function lifetimes({ lifetimes: summary }: Report): Html {
  if (summary.count === 0)
    return section('lifetimes', 'Lifetimes of mappings', html`<p class="dim">No mapping was removed.</p>`)
  const { count, p50, p90, p99, max } = summary
  return section(
    'lifetimes',
    'Lifetimes of mappings',
    html`<p class="dim">Of ${formatCount(count)} that were removed: half within ${formatTime(p50)}, 90 % within ${formatTime(p90)}, 99 % within ${formatTime(p99)}, all within ${formatTime(max)}.</p>`,
    histogramChart(summary, 'mapping', formatTime),
  )
}

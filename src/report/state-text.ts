/** The state of a running guest's IOMMU, and its mappings, for a terminal. */

import type { BackendState } from '../iommu/endpoint-backend.ts'
import type { IommuState, MappingState } from '../iommu/state.ts'
import { textTable } from './text-table.ts'
import { formatAddress, formatBytes, formatCount, formatRange, formatRights } from './units.ts'

/** What the instance answers: the core's state, and the device's own counters. */
export interface LiveState extends IommuState {
  readonly device?: Readonly<Record<string, number>>
}

/** Endpoints and domains. */
export function listText(state: LiveState): string {
  const { endpoints, domains, granule, input, bypass } = state
  const head =
    `granule ${formatBytes(granule)}, input ${formatRange(input.start, input.end)}, ` +
    `endpoints in no domain ${bypass ? 'reach all memory' : 'reach nothing'}`
  const names = new Map(endpoints.map(({ id, name }) => [id, name]))
  return block([
    head,
    '',
    ...textTable(
      ['endpoint', '#id', '#domain', 'accesses', '#faults', 'reserved'],
      endpoints.map(({ name, id, domain, treatment, faults, reserved }) => [
        name,
        formatAddress(id),
        domain === null ? '-' : String(domain),
        TREATMENTS[treatment],
        formatCount(faults),
        reserved.map(({ kind, start, end }) => formatRange(start, end) + (kind === 'msi' ? ' (MSI)' : '')).join(' '),
      ]),
    ),
    '',
    ...(domains.length === 0
      ? ['no domains']
      : textTable(
          ['#domain', 'kind', 'endpoints', '#mappings', '#bytes'],
          domains.map(domain => [
            String(domain.id),
            domain.bypass ? 'bypass' : 'mapped',
            domain.endpoints.map(id => names.get(id) ?? formatAddress(id)).join(' '),
            formatCount(domain.mappings),
            formatBytes(domain.bytes),
          ]),
        )),
    ...backendLines(state),
  ])
}

/** Of a limit: from here on it is told. */
const NEARLY_FULL = 0.9
const TREATMENTS = { translate: 'translated', bypass: 'unchanged', block: 'refused' } as const

/** Counters since the start. */
export function statText(state: LiveState): string {
  const { counters, device = {} } = state
  const bytes = counters.tableBytes
  const rows = Object.entries({ ...counters, ...device })
    .filter(([name]) => name !== 'tableBytes')
    .map(([name, value]) => [wordsOf(name), formatCount(value)])
  return block([...textTable(['', '#'], [...rows, ['table', formatBytes(bytes)]]).slice(1), ...backendLines(state)])
}

/** Hardware that translates, with a warning while there is little room left. */
function backendLines({ endpoints }: LiveState): readonly string[] {
  const backends = new Map<string, { readonly state: BackendState; readonly endpoints: readonly string[] }>()
  for (const { name, backend } of endpoints)
    if (backend !== undefined) {
      const names = backends.get(backend.name)?.endpoints ?? []
      backends.set(backend.name, { state: backend, endpoints: [...names, name] })
    }
  if (backends.size === 0) return []
  const states = [...backends.values()]
  const rows = states.map(({ state, endpoints: names }) => [
    state.name,
    names.join(' '),
    TREATMENTS[state.treatment],
    formatCount(state.mappings),
    state.limit === null ? '-' : formatCount(state.limit),
    formatBytes(state.pinnedBytes),
    formatCount(state.mapCalls),
    formatCount(state.unmapCalls),
  ])
  const head = ['hardware', 'endpoints', 'accesses', '#mappings', '#limit', '#pinned', '#map calls', '#unmap calls']
  const warnings = states.flatMap(({ state }) => fullness(state))
  return ['', ...textTable(head, rows), ...warnings]
}

function fullness({ name, mappings, limit }: BackendState): readonly string[] {
  if (limit === null || mappings < limit * NEARLY_FULL) return []
  const what = `${name} has ${formatCount(mappings)} of the ${formatCount(limit)} mappings that the host takes`
  return [`warning: ${what}: beyond them a MAP is answered with NOMEM`]
}

/** A line for each mapping. */
export function mappingText(mappings: readonly MappingState[]): string {
  return mappings
    .map(({ start, end, phys, flags }) => {
      const range = `${address(start)}-${address(end)}`
      return `  ${range} -> ${address(phys)}  ${formatRights(flags).padEnd(3)}  ${formatBytes(end - start + 1)}\n`
    })
    .join('')
}

/** Addresses of 48 bits stand in one column. */
function address(value: number): string {
  return value.toString(16).padStart(12, '0')
}

/** "peakMappings" as "peak mappings". */
function wordsOf(name: string): string {
  return name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
}

function block(lines: readonly string[]): string {
  return lines.map(line => `${line}\n`).join('')
}

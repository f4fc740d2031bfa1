import { describe, expect, it } from 'vitest'
import type { BackendState } from '../../../src/iommu/endpoint-backend.ts'
import { type LiveState, listText, mappingText, statText } from '../../../src/report/state-text.ts'

const STATE: LiveState = {
  granule: 4096,
  input: { start: 0, end: 2 ** 48 - 1 },
  domainRange: { start: 0, end: 0xffff_ffff },
  bypass: false,
  endpoints: [
    {
      id: 8,
      name: 'disk0',
      domain: 1,
      treatment: 'translate',
      reserved: [{ kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }],
      faults: 1200,
    },
    { id: 0x100, name: 'net0', domain: null, treatment: 'block', reserved: [], faults: 0 },
  ],
  domains: [{ id: 1, bypass: false, endpoints: [8], mappings: 1234, bytes: 5 << 20 }],
  counters: {
    attaches: 1,
    detaches: 0,
    maps: 2000,
    unmaps: 766,
    removed: 766,
    faults: 1200,
    waits: 3,
    mappings: 1234,
    pages: 1280,
    tableBytes: 65_536,
  },
  device: { requests: 2767, dropped: 4 },
}

describe('listText', () => {
  it('shows endpoints and domains in columns', () => {
    expect(listText(STATE)).toBe(`granule 4 KiB, input 0x0-0xffffffffffff, endpoints in no domain reach nothing

endpoint     id  domain  accesses    faults  reserved
disk0       0x8       1  translated   1 200  0xfee00000-0xfeefffff (MSI)
net0      0x100       -  refused          0

domain  kind    endpoints  mappings  bytes
     1  mapped  disk0         1 234  5 MiB
`)
  })

  it('says so when there are no domains', () => {
    expect(listText({ ...STATE, domains: [] })).toMatch(/\n\nno domains\n$/)
  })
})

const BACKEND: BackendState = {
  name: 'group 7',
  treatment: 'translate',
  mappings: 1234,
  limit: 65_535,
  pinnedBytes: 5 << 20,
  mapCalls: 2000,
  unmapCalls: 766,
}

function withBackend(backend: BackendState): LiveState {
  return { ...STATE, endpoints: STATE.endpoints.map(endpoint => ({ ...endpoint, backend })) }
}

describe.each([
  ['listText', listText],
  ['statText', statText],
])('%s', (_, text) => {
  it('shows hardware that translates, once for all of its endpoints', () => {
    expect(text(withBackend(BACKEND))).toMatch(`
hardware  endpoints   accesses    mappings   limit  pinned  map calls  unmap calls
group 7   disk0 net0  translated     1 234  65 535   5 MiB      2 000          766
`)
  })

  it.each([
    [58_981, 65_535, false],
    [58_982, 65_535, true],
    [65_535, 65_535, true],
    [65_535, null, false],
  ])('warns of %d mappings of %s: %s', (mappings, limit, expected) => {
    expect(text(withBackend({ ...BACKEND, mappings, limit })).includes('warning: group 7 has ')).toBe(expected)
  })
})

describe('statText', () => {
  it('shows the counters of the core and of the device, a line each', () => {
    const lines = statText(STATE).split('\n')
    expect(lines).toContain('maps       2 000')
    expect(lines).toContain('requests   2 767')
    expect(lines).toContain('table     64 KiB')
    expect(new Set(lines.filter(Boolean).map(line => line.length))).toEqual(new Set(['maps       2 000'.length]))
  })
})

describe('mappingText', () => {
  it('has a line for each mapping, in columns up to 48 bits', () => {
    const mappings = [
      { start: 0x1000, end: 0x1fff, phys: 0x8000, flags: 1 },
      { start: 2 ** 47, end: 2 ** 47 + 2 ** 21 - 1, phys: 0x20_0000, flags: 7 },
    ]
    expect(mappingText(mappings)).toBe(
      '  000000001000-000000001fff -> 000000008000  r-   4 KiB\n' +
        '  800000000000-8000001fffff -> 000000200000  rwm  2 MiB\n',
    )
  })
})

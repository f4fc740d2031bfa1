/**
 * What the IOMMU's core costs, without requests and queues: MAP and UNMAP at 10, 10^4 and 10^6 resident mappings, the
 * translation of a chain of three descriptors, and memory. A device behind it is attached; nothing is in flight.
 */
import { Iommu } from '../../src/iommu/iommu.ts'
import { MapFlag } from '../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import { Access } from '../../src/memory/dma-space.ts'
import { Extents } from '../../src/memory/extents.ts'
import { GuestMemory } from '../../src/memory/guest-memory.ts'
import { Random } from '../support/random.ts'
import { median, printTable } from './table.ts'

const PAGE_SIZE = 4096
const HUGE_SIZE = 2 ** 21
const RESIDENT = [10, 10_000, 1_000_000]
const LIMIT = 1_100_000
const RIGHTS = MapFlag.read | MapFlag.write
const MEMORY_BYTES = 2 ** 30
const MEMORY_PAGES = MEMORY_BYTES / PAGE_SIZE
const DISK = 8
const DOMAIN = 1
/** Operations in a pass: short, so that those in which another process had the processor stand out. */
const PASS = 64
const ROUND_MS = 300
/** Where Linux begins with addresses for PCI devices, downwards. */
const TOP = 0xfee0_0000
const HUGE_AREA = 2 ** 44

/** Where mapping `index` goes, and its size. */
interface Pattern {
  readonly name: string
  readonly size: number
  address(index: number): number
}

const PATTERNS: readonly Pattern[] = [
  { name: '4 KiB, one below the other', size: PAGE_SIZE, address: index => TOP - (index + 1) * PAGE_SIZE },
  { name: '4 KiB, scattered over 2^48', size: PAGE_SIZE, address: scattered() },
  { name: '2 MiB, one behind the other', size: HUGE_SIZE, address: index => HUGE_AREA + index * HUGE_SIZE },
]

/** Measures and prints. */
export async function iommuCore(): Promise<void> {
  const rows = PATTERNS.flatMap(pattern => {
    const pairs = RESIDENT.map(resident => measure(pattern, resident))
    const first = pairs[0]?.pair ?? Number.NaN
    return pairs.map(({ pair, batch, chain, chainAnew, bytes }, i) => [
      `${pattern.name}, ${RESIDENT[i]} resident`,
      pair.toFixed(0),
      (pair / first).toFixed(2),
      batch.toFixed(0),
      chain.toFixed(1),
      chainAnew.toFixed(1),
      bytes.toFixed(1),
    ])
  })
  printTable(
    'IOMMU core, ns (medians of the faster half)',
    ['', 'MAP+UNMAP', 'to 10', 'in batches of 64', 'chain', 'chain, new pages', 'bytes/mapping'],
    rows,
  )
}

function measure(pattern: Pattern, resident: number) {
  const { iommu, extents } = load(pattern, resident)
  const addresses = Array.from({ length: PASS }, (_, i) => pattern.address(resident + i))
  const map = (address: number) => iommu.map(DOMAIN, address, address + pattern.size - 1, 0x10_0000, RIGHTS)
  const unmap = (address: number) => iommu.unmap(DOMAIN, address, address + pattern.size - 1, ignore)
  const pair = time(() => {
    for (let i = 0; i < PASS; i++) {
      const address = addresses[i] as number
      map(address)
      unmap(address)
    }
  })
  const batch = time(() => {
    for (let i = 0; i < PASS; i++) map(addresses[i] as number)
    for (let i = 0; i < PASS; i++) unmap(addresses[i] as number)
  })
  const { counters } = iommu.state()
  if (counters.mappings !== resident) throw new Error(`${counters.mappings} mappings are left of ${resident}`)
  return { pair, batch, ...chains(iommu, pattern, resident, extents), bytes: counters.tableBytes / resident }
}

/** A header to read, a page to write and a status to write: the same again and again, and others each time. */
function chains(iommu: Iommu, pattern: Pattern, resident: number, extents: Extents) {
  const space = iommu.endpoint(DISK)?.space
  if (space === undefined) throw new Error('the endpoint is there')
  const translate = (header: number, data: number, status: number) => {
    extents.clear()
    space.translate(header + 16, 16, Access.read, extents)
    space.translate(data, PAGE_SIZE, Access.write, extents)
    space.translate(status + 32, 1, Access.write, extents)
  }
  const [header, data, status] = [0.2, 0.5, 0.8].map(share => pattern.address(Math.floor(resident * share)))
  const chain = time(() => {
    for (let i = 0; i < PASS; i++) translate(header as number, data as number, status as number)
  })
  if (extents.count !== 3) throw new Error(`the chain has ${extents.count} extents`)
  const pages = Array.from({ length: 2048 * PASS }, (_, i) => pattern.address((i * 257) % resident))
  let at = 0
  const chainAnew = time(() => {
    for (let i = 0; i < PASS; i++) {
      translate(pages[at] as number, pages[at + 1] as number, pages[at + 2] as number)
      at = (at + 3) % (pages.length - 3)
    }
  })
  return { chain, chainAnew }
}

function load(pattern: Pattern, resident: number): { readonly iommu: Iommu; readonly extents: Extents } {
  const memory = new GuestMemory([{ start: 0, bytes: new Uint8Array(MEMORY_BYTES) }])
  const iommu = new Iommu({
    memory,
    granule: PAGE_SIZE,
    input: { start: 0, end: 2 ** 48 - 1 },
    domains: { start: 0, end: 2 ** 32 - 1 },
    bypass: true,
    limits: { domain: LIMIT, total: LIMIT },
    doorbells: [],
  })
  iommu.addEndpoint({
    id: DISK,
    name: 'disk0',
    reserved: [{ kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }],
  })
  iommu.attach(DISK, DOMAIN, false, ignore)
  const step = pattern.size / PAGE_SIZE
  for (let i = 0; i < resident; i++) {
    const address = pattern.address(i)
    const phys = ((i * step) % (MEMORY_PAGES - step)) * PAGE_SIZE
    const outcome = iommu.map(DOMAIN, address, address + pattern.size - 1, phys, RIGHTS)
    if (outcome !== Outcome.ok) throw new Error(`mapping ${i} is answered with ${outcome}`)
  }
  return { iommu, extents: new Extents(memory) }
}

/** Nanoseconds an operation: the median of the faster half of many passes of `PASS` operations. */
function time(pass: () => void): number {
  const values: number[] = []
  const end = Bun.nanoseconds() + ROUND_MS * 1e6
  while (Bun.nanoseconds() < end) {
    const start = Bun.nanoseconds()
    pass()
    values.push((Bun.nanoseconds() - start) / PASS)
  }
  values.sort((a, b) => a - b)
  return median(values.slice(0, Math.ceil(values.length / 2)))
}

/** Different pages all over the input range, the same at each call. */
function scattered(): (index: number) => number {
  const random = new Random(1)
  const pages: number[] = []
  const seen = new Set<number>()
  return index => {
    while (pages.length <= index) {
      const page = random.below(2 ** 16) * 2 ** 20 + random.below(2 ** 20)
      if (seen.has(page)) continue
      seen.add(page)
      pages.push(page)
    }
    return (pages[index] as number) * PAGE_SIZE
  }
}

function ignore(): void {}

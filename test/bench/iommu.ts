/**
 * The IOMMU against QEMU's: the bench guest (guests/bench) drives both with the same binary on this host's KVM. First its
 * requests alone; then disk and network with every device behind it, as a ratio to the same machine without one.
 *
 * static: all memory is mapped once. strict: each buffer is mapped before its request and unmapped behind it, one IOMMU
 * request at a time, as by an operating system that trusts no device.
 */
import { createDisk } from './bench-disk.ts'
import {
  compare,
  compareMachines,
  figures,
  format,
  type Group,
  latency,
  measure,
  measureTogether,
  type Row,
  rate,
  ratios,
} from './bench-group.ts'
import { buildBenchGuest, measureTscKhz, type Report } from './bench-guest.ts'
import { BULKHEAD, BULKHEAD_IOMMU, QEMU_IOMMU, QEMU_MACHINES, requireMachines } from './bench-machines.ts'
import { Workshop } from './c-program.ts'
import { EchoTap } from './echo-tap.ts'
import { median, printTable } from './table.ts'

const RESIDENT = [10, 10_000, 1_000_000] as const
const REQUESTS = [
  ['MAP', 'iommu-map'],
  ['UNMAP', 'iommu-unmap'],
  ['MAP and UNMAP', 'iommu-pair'],
] as const
const BATCHES = [
  ['one at a time', 'count=4000'],
  ['batches of 64', 'count=100000,depth=64'],
] as const

const REQUEST_GROUP: Group = {
  title: 'requests',
  machines: [BULKHEAD_IOMMU, QEMU_IOMMU],
  warmUp: 'iommu-pair,count=150000,depth=64 iommu-pair,count=5000 iommu-probe,count=3000 iommu-attach,count=500',
  rows: [
    latency('PROBE', 'iommu-probe,count=2000'),
    latency('ATTACH, making a domain', 'iommu-attach,count=1000'),
    rate('DETACH, ending it', 'iommu-attach,count=1000'),
    rate('MAP, from none to 1000000, batches of 64', 'iommu-fill,resident=1000000,depth=64'),
    ...RESIDENT.flatMap(resident => [
      ...REQUESTS.flatMap(([name, test]) =>
        BATCHES.map(([batch, options]) =>
          rate(`${name}, ${resident} resident, ${batch}`, `${test},resident=${resident},${options}`),
        ),
      ),
    ]),
  ],
}

/** A load of a device; with strict mappings it gets a tenth of the requests, or some thousand, done in the same time. */
interface Load {
  readonly name: string
  readonly metric: Row['metric']
  readonly test: string
  readonly count: number
}

const LOADS: readonly Load[] = [
  { name: '4 KiB random read, depth 1', metric: 'rate', test: 'blk-read', count: 20_000 },
  { name: '4 KiB random read, depth 32', metric: 'rate', test: 'blk-read,depth=32', count: 100_000 },
  {
    name: '128 KiB sequential read, depth 8',
    metric: 'bandwidth',
    test: 'blk-read,depth=8,size=131072,sequential=1',
    count: 5000,
  },
  { name: '4 KiB random write, depth 32', metric: 'rate', test: 'blk-write,depth=32', count: 30_000 },
  { name: 'echo, 60 bytes, no interrupts', metric: 'median', test: 'net-echo,size=60', count: 4000 },
  { name: 'send, 1514 bytes', metric: 'rate', test: 'net-send,size=1514', count: 300_000 },
  { name: 'receive, 1514 bytes', metric: 'rate', test: 'net-receive,size=1514', count: 200_000 },
]
const MOST_STRICT = 10_000
const LEAST_STRICT = 3000

const WARM_UP =
  'blk-read,depth=32,count=200000 net-echo,size=60,count=3000 net-send,size=60,count=400000 net-receive,size=60,count=300000'
const IOMMU_WARM_UP = `${WARM_UP} blk-read,dma=strict,count=10000 net-send,size=60,dma=strict,count=10000`

/** Measures and prints; throws `Skip` without QEMU, a compiler, KVM or taps. */
export async function iommu(): Promise<void> {
  requireMachines()
  using workshop = new Workshop()
  const guest = buildBenchGuest(workshop)
  const tscKhz = measureTscKhz(workshop)
  await using tap = await EchoTap.create(workshop)
  const parts = { guest, disk: createDisk(workshop.path('disk')), tap: tap.name }
  printRequests(await measure(REQUEST_GROUP, parts, tscKhz))
  const without: Group = {
    title: 'without',
    machines: [BULKHEAD, ...QEMU_MACHINES.slice(0, 1)],
    warmUp: WARM_UP,
    rows: LOADS.map(load => row(load, 'direct')),
  }
  const behind: Group = {
    title: 'behind the IOMMU',
    machines: [BULKHEAD_IOMMU, QEMU_IOMMU],
    warmUp: IOMMU_WARM_UP,
    rows: LOADS.flatMap(load => [row(load, 'static'), row(load, 'strict')]),
  }
  const [direct = [], mapped = []] = await measureTogether([without, behind], parts, tscKhz)
  printLoads(direct, mapped)
}

function row(load: Load, dma: 'direct' | 'static' | 'strict'): Row {
  const strictCount = Math.min(MOST_STRICT, Math.max(LEAST_STRICT, load.count / 10))
  const count = dma === 'strict' ? strictCount : load.count
  return { name: load.name, metric: load.metric, word: `${load.test},dma=${dma},count=${count}` }
}

function printRequests(reports: readonly Report[][]): void {
  const { machines, rows } = REQUEST_GROUP
  const head = ['', ...machines.map(machine => machine.name), 'to QEMU', 'range']
  printTable(
    'iommu, requests: times as fast',
    head,
    rows.map(each => [each.name, ...compareMachines(each, reports).slice(0, head.length - 1)]),
  )
}

/** For each machine: the figure without an IOMMU and the shares of it that the modes reach; then the modes compared. */
function printLoads(without: readonly Report[][], behind: readonly Report[][]): void {
  const lines = LOADS.map(load => {
    const [direct, fixed, strict] = [row(load, 'direct'), row(load, 'static'), row(load, 'strict')]
    const cells = REQUEST_GROUP.machines.flatMap((_, i) => {
      const baseline = figures(direct, without[i] ?? [])
      const share = (mode: Row) => formatShare(median(ratios(mode, figures(mode, behind[i] ?? []), baseline)))
      return [format(direct, median(baseline)), share(fixed), share(strict)]
    })
    const toPeer = (mode: Row) => compare(mode, figures(mode, behind[0] ?? []), figures(mode, behind[1] ?? []))[0] ?? ''
    return [load.name, ...cells, toPeer(fixed), toPeer(strict)]
  })
  const head = REQUEST_GROUP.machines.flatMap(({ name }) => [name, 'static', 'strict'])
  printTable(
    'iommu, devices behind it: without an IOMMU, and times as fast as that with static and strict mappings',
    ['', ...head, 'static to QEMU', 'strict to QEMU'],
    lines,
  )
}

/** Two digits that say something. */
function formatShare(share: number): string {
  return share.toFixed(share < 0.1 ? 3 : 2)
}

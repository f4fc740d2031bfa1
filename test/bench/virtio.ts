/**
 * Virtio devices against QEMU's: the bench guest (guests/bench) runs the same tests under bulkhead and under QEMU on this
 * host's KVM, machine after machine, round by round. Guest times are of its time stamp counter. On page-table KVM its
 * code runs on the processor all the same, so these figures hold where Linux does not boot.
 */
import { createDisk } from './bench-disk.ts'
import { bandwidth, compareMachines, type Group, latency, measure, type Row, rate } from './bench-group.ts'
import { buildBenchGuest, measureTscKhz, type Report } from './bench-guest.ts'
import { BULKHEAD, QEMU_MACHINES, requireMachines } from './bench-machines.ts'
import { Workshop } from './c-program.ts'
import { EchoTap } from './echo-tap.ts'
import { median, printTable } from './table.ts'

const INTERRUPTS = [
  ['none, the guest polls', 'off'],
  ['sent, the guest polls', 'sent'],
  ['taken, the guest spins', 'taken'],
  ['taken, the guest halts', 'halt'],
] as const

/** What does not depend on how the disk is read: two machines are enough. */
const EXITS: readonly Row[] = [
  latency('port write', 'port-write,count=2000'),
  latency('port read', 'port-read,count=2000'),
  latency('MMIO read, device status', 'common-config,count=2000'),
  latency('MMIO read, disk capacity', 'device-config,count=2000'),
]
const NETWORK: readonly Row[] = [
  latency('echo, 60 bytes, no interrupts', 'net-echo,size=60,count=2000'),
  latency('echo, 60 bytes, guest halts', 'net-echo,size=60,count=2000,interrupts=halt'),
  rate('send, 60 bytes', 'net-send,size=60,count=1000000'),
  rate('send, 1514 bytes', 'net-send,size=1514,count=500000'),
  bandwidth('send, 64 KiB segments', 'net-send,size=65549,segmentation=1,count=50000'),
  rate('receive, 60 bytes', 'net-receive,size=60,count=500000'),
  rate('receive, 1514 bytes', 'net-receive,size=1514,count=500000'),
  bandwidth('receive, 64 KiB segments', 'net-receive,size=65000,segmentation=1,count=50000'),
]
const DOORBELL: readonly Row[] = [
  ...INTERRUPTS.map(([name, mode]) => latency(`disk id, interrupts ${name}`, `blk-id,count=2000,interrupts=${mode}`)),
  ...INTERRUPTS.map(([name, mode]) =>
    latency(`4 KiB read, interrupts ${name}`, `blk-read,count=2000,interrupts=${mode}`),
  ),
  latency('16 random bytes', 'rng,size=16,count=2000'),
]
const DISK: readonly Row[] = [
  rate('4 KiB random read, depth 1', 'blk-read,count=20000'),
  rate('4 KiB random read, depth 32', 'blk-read,depth=32,count=300000'),
  rate('4 KiB random read, depth 32, guest halts', 'blk-read,depth=32,count=200000,interrupts=halt'),
  bandwidth('128 KiB sequential read, depth 8', 'blk-read,depth=8,size=131072,sequential=1,count=20000'),
  bandwidth('same, 32 segments', 'blk-read,depth=8,size=131072,segment=4096,sequential=1,count=20000'),
  rate('4 KiB random write, depth 1', 'blk-write,count=10000'),
  rate('4 KiB random write, depth 32', 'blk-write,depth=32,count=50000'),
]

const FEW = [BULKHEAD, ...QEMU_MACHINES.slice(0, 1)]
const ALL = [BULKHEAD, ...QEMU_MACHINES]
const GROUPS: readonly Group[] = [
  { title: 'exits', machines: FEW, warmUp: 'common-config,count=3000', rows: EXITS },
  { title: 'from the doorbell to the used ring', machines: ALL, warmUp: 'blk-read,count=30000', rows: DOORBELL },
  { title: 'disk, a cached file', machines: ALL, warmUp: 'blk-read,depth=32,count=250000', rows: DISK },
  {
    title: 'network, a tap with an echo program',
    machines: FEW,
    warmUp: 'net-echo,size=60,count=5000 net-send,size=60,count=700000 net-receive,size=60,count=600000',
    rows: NETWORK,
  },
]

/** Measures and prints; throws `Skip` without QEMU, a compiler, KVM or taps. */
export async function virtio(): Promise<void> {
  requireMachines()
  using workshop = new Workshop()
  const guest = buildBenchGuest(workshop)
  const tscKhz = measureTscKhz(workshop)
  await using tap = await EchoTap.create(workshop)
  const parts = { guest, disk: createDisk(workshop.path('disk')), tap: tap.name }
  for (const group of GROUPS) {
    const reports = await measure(group, parts, tscKhz)
    printFigures(group, reports)
    printNotifications(group, reports)
  }
}

/** How many times as fast the first machine is as the second, and as the best of the others. */
function printFigures({ title, machines, rows }: Group, reports: readonly Report[][]): void {
  const head = ['', ...machines.map(machine => machine.name), 'to QEMU', 'range', 'to the best']
  printTable(
    `virtio, ${title}: times as fast`,
    head,
    rows.map(row => [row.name, ...compareMachines(row, reports)]),
  )
}

/** What the driver's EVENT_IDX spared it. */
function printNotifications({ title, machines, rows }: Group, reports: readonly Report[][]): void {
  const counted = rows.filter(row => reports[0]?.[0]?.has(`${row.word}.notifications`))
  if (counted.length === 0) return
  const lines = counted.map(({ name, word }) => {
    const count = Number(/,count=(\d+)/.exec(word)?.[1])
    const perRequest = (run: Report) => (run.get(`${word}.notifications`) ?? Number.NaN) / count
    return [name, ...reports.map(runs => median(runs.map(perRequest)).toFixed(3))]
  })
  printTable(`virtio, ${title}: notifications per request`, ['', ...machines.map(machine => machine.name)], lines)
}

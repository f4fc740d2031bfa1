/**
 * Linux behind the IOMMU, in the rig (linux-run.ts): disk and network with strict, lazy and no translation (passthrough)
 * as shares of the same hypervisor's figures without an IOMMU, for bulkhead and for QEMU.
 *
 * strict: each mapping goes when its request is done. lazy: mappings go in batches, later.
 */
import { DISK_LOADS, type Load, NETWORK_LOADS } from './h-tmp-guest.ts'
import { bulkheadLinux, type LinuxMachine, qemuLinux } from './linux-machines.ts'
import { formatLoad, type LinuxReport, loadMedian, runLinux } from './h-tmp-run.ts'
import { printTable } from './table.ts'

/** A round takes about six minutes on a quiet host. */
const ROUNDS = 1

/** A way to use the IOMMU, the kernel's words for it and what sysfs then says of its groups. */
const MODES = [
  { name: 'strict', params: 'iommu.passthrough=0 iommu.strict=1', groupType: 'DMA' },
  { name: 'lazy', params: 'iommu.passthrough=0 iommu.strict=0', groupType: 'DMA-FQ' },
  { name: 'passthrough', params: 'iommu.passthrough=1', groupType: 'identity' },
] as const

/** The machine without an IOMMU, then one for each mode. */
type Series = readonly LinuxMachine[]

const BULKHEAD: Series = [
  bulkheadLinux({}),
  ...MODES.map(({ name, params }) => bulkheadLinux({ name: `bulkhead, ${name}`, iommu: true, params })),
]
const QEMU: Series = [
  qemuLinux({}),
  ...MODES.map(({ name, params }) => qemuLinux({ name: `QEMU, ${name}`, iommu: true, params })),
]

/** Measures and prints; throws `Skip` where there is no rig. */
export async function linuxIommu(): Promise<void> {
  const reports = await runLinux([...BULKHEAD, ...QEMU], ROUNDS)
  const own = reports.slice(0, BULKHEAD.length)
  const peer = reports.slice(BULKHEAD.length)
  for (const [machines, series] of [
    [BULKHEAD, own],
    [QEMU, peer],
  ] as const)
    checkModes(machines, series)
  printShares(own, peer)
}

/** A figure counts only if the guest did what the machine's name says. */
function checkModes(machines: Series, series: readonly (readonly LinuxReport[])[]): void {
  for (const [i, { name }] of machines.entries()) {
    const wanted = MODES[i - 1]?.groupType ?? ''
    for (const { groupTypes } of series[i] ?? [])
      if (groupTypes.join(' ') !== wanted)
        throw new Error(`${name}: the guest's IOMMU groups are of type "${groupTypes.join(' ')}", not "${wanted}"`)
  }
}

/** Without an IOMMU, shares of that by mode; then the modes of both hypervisors compared. */
function printShares(own: readonly (readonly LinuxReport[])[], peer: readonly (readonly LinuxReport[])[]): void {
  const lines = [...DISK_LOADS, ...NETWORK_LOADS].map(load => [
    load.name,
    ...shares(load, own),
    ...shares(load, peer),
    ...MODES.map((_, i) => (value(load, own, i + 1) / value(load, peer, i + 1)).toFixed(2)),
  ])
  const modes = MODES.map(({ name }) => name)
  const head = ['', 'bulkhead', ...modes, 'QEMU', ...modes, ...modes.map(name => `${name} to QEMU`)]
  printTable('linux in the rig: without an IOMMU, and times as fast as that behind it', head, lines)
}

function shares(load: Load, series: readonly (readonly LinuxReport[])[]): readonly string[] {
  const direct = value(load, series, 0)
  return [formatLoad(load, direct), ...MODES.map((_, i) => (value(load, series, i + 1) / direct).toFixed(2))]
}

function value(load: Load, series: readonly (readonly LinuxReport[])[], index: number): number {
  return loadMedian(load, series[index] ?? [])
}
await linuxIommu()

/** Linux with fio and iperf3, in the rig (linux-run.ts): the same guest under bulkhead and under QEMU. */
import { DISK_LOADS, type Load, NETWORK_LOADS } from './linux-guest.ts'
import { LINUX_MACHINES } from './linux-machines.ts'
import { formatLoad, type LinuxReport, loadFigures, loadMedian, runLinux } from './linux-run.ts'
import { median, printTable } from './table.ts'

const ROUNDS = 3

/** Measures and prints; throws `Skip` where there is no rig. */
export async function linux(): Promise<void> {
  const reports = await runLinux(LINUX_MACHINES, ROUNDS)
  printLoads('disk, a cached file, by fio', DISK_LOADS, reports)
  printLoads('network, a tap, by iperf3', NETWORK_LOADS, reports)
}

/** Each machine's median; how many times as fast the first machine is as the second, and as the best of the others. */
function printLoads(
  title: string,
  loads: readonly Load[],
  [own = [], ...others]: readonly (readonly LinuxReport[])[],
): void {
  const lines = loads.map(load => {
    const best = others.reduce((a, b) => (loadMedian(load, b) > loadMedian(load, a) ? b : a))
    return [
      load.name,
      ...[own, ...others].map(reports => formatLoad(load, loadMedian(load, reports))),
      ...compare(load, own, others[0] ?? []),
      compare(load, own, best)[0] ?? '',
    ]
  })
  const head = ['', ...LINUX_MACHINES.map(machine => machine.name), 'to QEMU', 'range', 'to the best']
  printTable(`linux in the rig, ${title}: times as fast`, head, lines)
}

/** The median of the rounds' ratios, and the least and the greatest of them. */
function compare(load: Load, own: readonly LinuxReport[], peer: readonly LinuxReport[]): readonly string[] {
  const peers = loadFigures(load, peer)
  const ratios = loadFigures(load, own).map((value, round) => value / (peers[round] ?? Number.NaN))
  return [median(ratios).toFixed(2), `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`]
}

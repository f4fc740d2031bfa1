/**
 * Runs the Linux benchmarks' guest under several hypervisors, machine after machine and round by round, in one emulated
 * host with a KVM of its own and one CPU, which guest, hypervisor and iperf3's server share.
 *
 * An emulated processor makes JavaScript dearer than C: the code that a JIT compiler writes is translated again, and
 * each of its changes throws translations away. The figures are reported beside the native ones and are no aims. Blocks
 * are read from a file in the emulated host's page cache; TCP goes over a tap, whose offloads both use.
 */
import { prepareDefaultGuest } from '../../src/guest/default-guest.ts'
import { shellQuote } from '../../src/rig/job.ts'
import { prepareRig } from '../../src/rig/prepare.ts'
import { Skip, Workshop } from './c-program.ts'
import { benchInitrd, DISK_LOADS, guestScript, HOST_ADDRESS, type Load, NETWORK_LOADS } from './linux-guest.ts'
import { GUEST_MEMORY_MIB, type LinuxMachine, type LinuxParts, tapScript } from './linux-machines.ts'
import { DISK, linuxTools, TOOLS } from './linux-tools.ts'
import { lastLines, orSkip, QUIET, runRigScript } from './rig-script.ts'
import { median } from './table.ts'

/** A machine takes about 50 s on a quiet host. */
const MACHINE_LIMIT_S = 300

const LOADS: readonly Load[] = [...DISK_LOADS, ...NETWORK_LOADS]
const FIGURE = /^figure (\S+) ([\d.]+)\r?$/gm
const GROUP_TYPES = /^group types(.*?)\r?$/m

/** What a machine reported. */
export interface LinuxReport {
  /** By name and unit. */
  readonly figures: ReadonlyMap<string, number>
  /** Of the guest's IOMMU groups, each once: "DMA" (strict), "DMA-FQ" (lazy), "identity"; none without an IOMMU. */
  readonly groupTypes: readonly string[]
}

/** The reports of each machine, one a round; throws `Skip` where there is no rig. */
export async function runLinux(
  machines: readonly LinuxMachine[],
  rounds: number,
): Promise<readonly (readonly LinuxReport[])[]> {
  if (process.arch !== 'x64') throw new Skip('its guests are x86 machines')
  using workshop = new Workshop()
  const rig = await orSkip(() => prepareRig({ log: QUIET }))
  const guest = await orSkip(() => prepareDefaultGuest({ log: QUIET }))
  const { image, qemu } = await orSkip(() => linuxTools(rig.qemu))
  const initrd = await workshop.write('initrd', benchInitrd(guest.initrd, guestScript()))
  const script = (paths: readonly string[]) => hostScript(machines, rounds, paths, { params: guest.params, qemu })
  const output = await runRigScript(script, {
    files: [guest.kernel, initrd, image],
    guestMemoryMiB: GUEST_MEMORY_MIB,
    timeoutS: rounds * machines.length * MACHINE_LIMIT_S,
  })
  return parseReports(machines, output)
}

/** The median of a load's figure over the rounds. */
export function loadMedian({ figure, unit }: Load, reports: readonly LinuxReport[]): number {
  return median(loadFigures({ figure, unit }, reports))
}

/** A load's figure in each round. */
export function loadFigures(
  { figure, unit }: Pick<Load, 'figure' | 'unit'>,
  reports: readonly LinuxReport[],
): readonly number[] {
  return reports.map(({ figures }) => figures.get(`${figure}.${unit}`) ?? Number.NaN)
}

export function formatLoad({ unit }: Load, value: number): string {
  if (unit === 'requests/s') return `${(value / 1000).toFixed(2)} k/s`
  return unit === 'KiB/s' ? `${((value * 1024) / 1e6).toFixed(0)} MB/s` : `${(value / 1000).toFixed(0)} Mbit/s`
}

/** In the emulated host: all rounds of all machines. QEMU maps kernel and initrd, so they must be files and no drives. */
function hostScript(
  machines: readonly LinuxMachine[],
  rounds: number,
  paths: readonly string[],
  rest: Pick<LinuxParts, 'params' | 'qemu'>,
): string {
  const [kernelDrive = '', initrdDrive = '', tools = ''] = paths
  const parts = { ...rest, kernel: '/tmp/vmlinux', initrd: '/tmp/initrd', tools }
  const runs = machines.map((machine, index) => {
    const command = machine.command(parts).map(shellQuote).join(' ')
    return `echo "machine ${index}"; timeout ${MACHINE_LIMIT_S} ${command} </dev/null || echo "ended with status $?"`
  })
  return `
set -e
mkdir ${TOOLS}
mount -t ext4 -o ro ${tools} ${TOOLS}
cat ${kernelDrive} >${parts.kernel}
cat ${initrdDrive} >${parts.initrd}
cat ${DISK.path} >/dev/null
${tapScript(HOST_ADDRESS)}
${TOOLS}/iperf3 -s -D
for round in $(seq ${rounds}); do
${runs.join('\n')}
done
`
}

/** By machine, one report a round. */
function parseReports(machines: readonly LinuxMachine[], output: string): readonly (readonly LinuxReport[])[] {
  const reports: LinuxReport[][] = machines.map(() => [])
  for (const run of output.split(/^machine /m).slice(1)) {
    const index = Number.parseInt(run, 10)
    const figures = new Map([...run.matchAll(FIGURE)].map(([, name = '', value]) => [name, Number(value)]))
    const missing = LOADS.find(({ figure, unit }) => !figures.has(`${figure}.${unit}`))
    if (missing !== undefined)
      throw new Error(`${machines[index]?.name} did not report "${missing.name}":\n${lastLines(run)}`)
    const types = GROUP_TYPES.exec(run)?.[1]?.trim() ?? ''
    reports[index]?.push({ figures, groupTypes: types === '' ? [] : types.split(' ') })
  }
  return reports
}

/**
 * Linux with fio and iperf3, in the rig: the same guest under bulkhead and under QEMU, machine after machine and round
 * by round, in one emulated host with a KVM of its own and one CPU, which guest, hypervisor and iperf3's server share.
 *
 * An emulated processor makes JavaScript dearer than C: the code that a JIT compiler writes is translated again, and
 * each of its changes throws translations away. The figures are reported beside the native ones (virtio.ts) and are no
 * aims. Blocks are read from a file in the emulated host's page cache; TCP goes over a tap, whose offloads both use.
 */
import { BadInput, HostError } from '../../src/base/errors.ts'
import { Log } from '../../src/base/log.ts'
import { prepareDefaultGuest } from '../../src/guest/default-guest.ts'
import { shellQuote } from '../../src/rig/job.ts'
import { prepareRig } from '../../src/rig/prepare.ts'
import { startProgram } from '../../src/rig/rig.ts'
import { Skip, Workshop } from './c-program.ts'
import { benchInitrd, DISK_LOADS, HOST_ADDRESS, type Load, NETWORK_LOADS } from './linux-guest.ts'
import { GUEST_MEMORY_MIB, LINUX_MACHINES, type LinuxParts, tapScript } from './linux-machines.ts'
import { DISK, linuxTools, TOOLS } from './linux-tools.ts'
import { median, printTable } from './table.ts'

const ROUNDS = 3
const LOG = new Log('error')
/** A machine takes about 50 s on a quiet host. */
const MACHINE_LIMIT_S = 300

const LOADS: readonly Load[] = [...DISK_LOADS, ...NETWORK_LOADS]
const FIGURE = /^figure (\S+) ([\d.]+)\r?$/gm

/** The figures of one run, by name and unit. */
type Report = ReadonlyMap<string, number>

/** Measures and prints; throws `Skip` where there is no rig. */
export async function linux(): Promise<void> {
  if (process.arch !== 'x64') throw new Skip('its guests are x86 machines')
  using workshop = new Workshop()
  const rig = await orSkip(() => prepareRig({ log: LOG }))
  const guest = await orSkip(() => prepareDefaultGuest({ log: LOG }))
  const { image, qemu } = await orSkip(() => linuxTools(rig.qemu))
  const initrd = await workshop.write('initrd', benchInitrd(guest.initrd))
  const script = (paths: readonly string[]) => hostScript(paths, { params: guest.params, qemu })
  const output = await runScript([guest.kernel, initrd, image], script)
  const reports = parseReports(output)
  printLoads('disk, a cached file, by fio', DISK_LOADS, reports)
  printLoads('network, a tap, by iperf3', NETWORK_LOADS, reports)
}

/** What cannot be fetched or made here is no failure of the benchmark. */
async function orSkip<T>(prepare: () => Promise<T>): Promise<T> {
  try {
    return await prepare()
  } catch (error) {
    if (error instanceof HostError || error instanceof BadInput) throw new Skip(error.message)
    throw error
  }
}

/** In the emulated host: all rounds of all machines. QEMU maps kernel and initrd, so they must be files and no drives. */
function hostScript(paths: readonly string[], rest: Pick<LinuxParts, 'params' | 'qemu'>): string {
  const [kernelDrive = '', initrdDrive = '', tools = ''] = paths
  const parts = { ...rest, kernel: '/tmp/vmlinux', initrd: '/tmp/initrd', tools }
  const machines = LINUX_MACHINES.map((machine, index) => {
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
for round in $(seq ${ROUNDS}); do
${machines.join('\n')}
done
`
}

async function runScript(files: readonly string[], script: (paths: readonly string[]) => string): Promise<string> {
  const run = await startProgram(paths => ['sh', '-c', script(paths)], 'pipes', {
    log: LOG,
    files,
    guestMemoryMiB: GUEST_MEMORY_MIB,
    timeoutS: ROUNDS * LINUX_MACHINES.length * MACHINE_LIMIT_S,
  })
  try {
    await run.stdin(null)
    const [output, errors] = await Promise.all([text(run.stdout), text(run.stderr)])
    const status = await run.exit
    if (status !== 0) throw new Error(`the benchmark's script ended with status ${status}: ${errors.trim()}`)
    if (errors !== '') console.error(errors.trimEnd())
    return output
  } finally {
    await run.kill()
  }
}

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const bytes of stream) parts.push(bytes)
  return Buffer.concat(parts).toString()
}

/** By machine, one report a round. */
function parseReports(output: string): readonly Report[][] {
  const reports: Report[][] = LINUX_MACHINES.map(() => [])
  for (const run of output.split(/^machine /m).slice(1)) {
    const index = Number.parseInt(run, 10)
    const figures = new Map([...run.matchAll(FIGURE)].map(([, name = '', value]) => [name, Number(value)]))
    const missing = LOADS.find(({ figure, unit }) => !figures.has(`${figure}.${unit}`))
    if (missing !== undefined)
      throw new Error(`${LINUX_MACHINES[index]?.name} did not report "${missing.name}":\n${lastLines(run)}`)
    reports[index]?.push(figures)
  }
  return reports
}

function lastLines(run: string): string {
  return run.trimEnd().split('\n').slice(-10).join('\n')
}

/** Each machine's median; how many times as fast the first machine is as the second, and as the best of the others. */
function printLoads(title: string, loads: readonly Load[], reports: readonly Report[][]): void {
  const lines = loads.map(({ name, figure, unit }) => {
    const samples = reports.map(runs => runs.map(run => run.get(`${figure}.${unit}`) ?? Number.NaN))
    const [own = [], peer = []] = samples
    const best = samples.slice(1).reduce((a, b) => (median(b) > median(a) ? b : a))
    return [
      name,
      ...samples.map(values => format(unit, median(values))),
      ...compare(own, peer),
      compare(own, best)[0] ?? '',
    ]
  })
  const head = ['', ...LINUX_MACHINES.map(machine => machine.name), 'to QEMU', 'range', 'to the best']
  printTable(`linux in the rig, ${title}: times as fast`, head, lines)
}

/** The median of the rounds' ratios, and the least and the greatest of them. */
function compare(own: readonly number[], peer: readonly number[]): string[] {
  const ratios = own.map((value, round) => value / (peer[round] ?? Number.NaN))
  return [median(ratios).toFixed(2), `${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}`]
}

function format(unit: Load['unit'], value: number): string {
  if (unit === 'requests/s') return `${(value / 1000).toFixed(2)} k/s`
  return unit === 'KiB/s' ? `${((value * 1024) / 1e6).toFixed(0)} MB/s` : `${(value / 1000).toFixed(0)} Mbit/s`
}

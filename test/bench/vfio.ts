/**
 * An NVMe disk of the emulated host's (the rig, with a KVM, an IOMMU and one CPU of its own) in Linux guests, with
 * bulkhead and with QEMU, and without a guest. It shows what the way through VFIO and a virtio-iommu costs.
 *
 * strict: each mapping goes when its request is done. lazy: mappings go in batches, later. passthrough: all of memory is
 * mapped once. The host's own driver has these modes too, with the emulated IOMMU itself.
 *
 * Emulation makes JavaScript dearer than C, as linux-run.ts tells.
 */
import { prepareDefaultGuest } from '../../src/guest/default-guest.ts'
import { prepareRig } from '../../src/rig/prepare.ts'
import { Skip, Workshop } from './c-program.ts'
import { benchInitrd } from './linux-guest.ts'
import { GUEST_MEMORY_MIB, type LinuxParts } from './linux-machines.ts'
import { DISK, linuxTools, TOOLS } from './linux-tools.ts'
import { orSkip, QUIET, runRigScript } from './rig-script.ts'
import { printTable } from './table.ts'
import { LOADS, parseReport, type VfioReport } from './vfio-loads.ts'
import * as m from './vfio-machines.ts'

/** Longer than any measurement: the host ends the guest. */
const WAIT_S = 10 * m.MACHINE_LIMIT_S

/** Who reads the disk how. */
interface Machine {
  readonly mode: m.Mode
  readonly name: string
  readonly command: m.Command
}

interface Result extends Machine {
  readonly report: VfioReport
  readonly output: string
}

const WITH_DIRECT = [m.DIRECT, ...m.MODES]
const OWN: readonly Machine[] = m.MODES.map(mode => ({ mode, name: 'host', command: m.ownCommand(mode) }))
const BULKHEAD = WITH_DIRECT.map(mode => ({ mode, name: 'bulkhead', command: m.bulkheadCommand(mode) }))
const QEMU = WITH_DIRECT.map(mode => ({ mode, name: 'QEMU', command: m.qemuCommand(mode) }))

/** Measures and prints; throws `Skip` where there is no rig. A run takes about eleven minutes on a quiet host. */
export async function vfio(): Promise<void> {
  const machines = [...OWN, ...BULKHEAD, ...QEMU]
  const outputs = (await runMachines(machines)).split(/^machine\n/m).slice(1)
  const results = machines.map((machine, i) => {
    const { name, mode } = machine
    const output = outputs[i] ?? ''
    const report = parseReport(`${name}, ${mode.name}`, output)
    if (report.groupType !== mode.groupType)
      throw new Error(`${name}, ${mode.name}: the disk's group is of type "${report.groupType}"`)
    return { ...machine, report, output }
  })
  printFigures(results)
  printCalls(results)
}

async function runMachines(machines: readonly Machine[]): Promise<string> {
  if (process.arch !== 'x64') throw new Skip('its guests are x86 machines')
  using workshop = new Workshop()
  const rig = await orSkip(() => prepareRig({ log: QUIET }))
  const guest = await orSkip(() => prepareDefaultGuest({ log: QUIET }))
  const { image, qemu } = await orSkip(() => linuxTools(rig.qemu))
  const initrd = await workshop.write('initrd', benchInitrd(guest.initrd, GUEST_SCRIPT))
  const disk = await workshop.write('disk', new Uint8Array(DISK.mib * 2 ** 20).fill(0x5a))
  const rest = { params: guest.params, qemu }
  return await runRigScript(paths => hostScript(machines, paths, rest), {
    files: [guest.kernel, initrd, image],
    devices: [{ kind: 'nvme', path: disk, writable: false }],
    guestMemoryMiB: GUEST_MEMORY_MIB,
    timeoutS: machines.length * m.MACHINE_LIMIT_S,
  })
}

/** In guests; the image with the tools is their virtio disk. */
const GUEST_SCRIPT = `
exec >/dev/ttyS0 2>&1
mkdir ${TOOLS}
mount -t ext4 -o ro /dev/vda ${TOOLS}
${LOADS}
echo measured
sleep ${WAIT_S}
`

/** QEMU maps kernel and initrd, so they must be files and no drives. */
function hostScript(
  machines: readonly Machine[],
  [kernelDrive = '', initrdDrive = '', tools = '']: readonly string[],
  rest: Pick<LinuxParts, 'params' | 'qemu'>,
): string {
  const parts = { ...rest, kernel: '/tmp/vmlinux', initrd: '/tmp/initrd', tools }
  const line = ({ command }: Machine) => `echo machine; ${command(parts)}`
  const isOwn = ({ name }: Machine) => name === 'host'
  return `
set -e
mkdir ${TOOLS}
mount -t ext4 -o ro ${tools} ${TOOLS}
cat ${kernelDrive} >${parts.kernel}
cat ${initrdDrive} >${parts.initrd}
${m.HOST_COMMANDS}
${machines.filter(isOwn).map(line).join('\n')}
take_driver
give_driver vfio-pci
${machines
  .filter(machine => !isOwn(machine))
  .map(line)
  .join('\n')}
`
}

/** Latency and throughput, and how many times as fast as the host in the same mode (if it has it) and as QEMU. */
function printFigures(results: readonly Result[]): void {
  const find = (name: string, mode: m.Mode) =>
    results.find(result => result.name === name && result.mode === mode)?.report
  const lines = results.map(({ name, mode, report }) => {
    const host = name === 'host' ? undefined : find('host', mode)
    const peer = name === 'bulkhead' ? find('QEMU', mode) : undefined
    return [
      `${name}, ${mode.name}`,
      ...[report.meanUs.toFixed(0), report.medianUs.toFixed(0)],
      ...[ratio(host?.meanUs, report.meanUs), ratio(peer?.meanUs, report.meanUs)],
      ((report.kibPerSecond * 1024) / 1e6).toFixed(0),
      ...[ratio(report.kibPerSecond, host?.kibPerSecond), ratio(report.kibPerSecond, peer?.kibPerSecond)],
    ]
  })
  const speed = ['to the host', 'to QEMU']
  const head = ['', '4 KiB read, mean us', 'median us', ...speed, '128 KiB reads, MB/s', ...speed]
  printTable('NVMe through VFIO, in the rig (times as fast; more is better)', head, lines)
}

/** Requests of the guest and calls to the host, and what the mappings of one read cost. */
function printCalls(results: readonly Result[]): void {
  const direct = (name: string) => results.find(result => result.name === name && result.mode === m.DIRECT)?.report
  const lines = results.flatMap(({ name, mode, report, output }) => {
    const counters = parseCounters(output)
    if (counters === undefined) return []
    const { maps, mapCalls, unmaps, removed, unmapCalls } = counters
    const more = report.meanUs - (direct(name)?.meanUs ?? Number.NaN)
    return [[mode.name, ...[maps, mapCalls, unmaps, unmapCalls, removed].map(String), more.toFixed(0)]]
  })
  const head = ['bulkhead', 'MAP', 'DMA_MAP', 'UNMAP', 'DMA_UNMAP', 'mappings removed', 'us more a 4 KiB read']
  printTable('requests to the IOMMU, all for the passed disk, and calls to its container', head, lines)
}

interface Counters {
  readonly maps: number
  readonly unmaps: number
  readonly removed: number
  readonly mapCalls: number
  readonly unmapCalls: number
}

/** What `bulkhead iommu stat --json` said; undefined if it was not asked, or there is no IOMMU. */
function parseCounters(output: string): Counters | undefined {
  const text = /^state (\{.*\})\r?$/m.exec(output)?.[1]
  return text === undefined ? undefined : (JSON.parse(text) as { readonly counters: Counters }).counters
}

function ratio(value: number | undefined, base: number | undefined): string {
  return value === undefined || base === undefined ? '' : (value / base).toFixed(2)
}

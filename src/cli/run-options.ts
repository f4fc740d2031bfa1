/** The options of `run` and what they come to. */
import { BadInput } from '../base/errors.ts'
import { LOG_LEVELS, type LogLevel } from '../base/log.ts'
import { checkInstanceName } from '../control/instances.ts'
import { type BootProtocol, MAX_CPUS, MAX_MEMORY_MIB, MIN_MEMORY_MIB } from '../machine/config.ts'
import type { IommuConfig } from '../machine/iommu-config.ts'
import {
  type Arguments,
  noPositionals,
  type Options,
  parseArguments,
  parseChoice,
  parseInteger,
  parseMemory,
  parseSeconds,
} from './arguments.ts'
import { DEVICE_OPTIONS, type DeviceRequests, parseDevices } from './device-options.ts'
import type { FirmwareDump } from './firmware-dump.ts'
import { IOMMU_VALUE, parseIommu } from './iommu-option.ts'

const DEFAULT_MEMORY_MIB = 512
const PROTOCOLS = ['linux64', 'pvh', 'multiboot'] as const satisfies readonly BootProtocol[]
const HOSTS = ['auto', 'kvm', 'rig'] as const
const CONSOLES = ['serial', 'virtio'] as const

/** What the user's console, or a command's streams, go over. */
export type ConsoleChoice = (typeof CONSOLES)[number]

/** Where to run. */
export type HostChoice = (typeof HOSTS)[number]

export const RUN_OPTIONS: Options = {
  kernel: { short: 'k', value: 'KERNEL', help: 'bzImage, ELF vmlinux or multiboot ELF (default: the default guest)' },
  initrd: { short: 'i', value: 'INITRD', help: 'initial RAM disk' },
  params: { short: 'p', value: 'PARAMS', help: 'words for the kernel command line' },
  mem: { short: 'm', value: 'MEM', help: `memory, in MiB or with M, G (default ${DEFAULT_MEMORY_MIB}M)` },
  cpus: { short: 'c', value: 'CPUS', help: `vCPUs, 1 to ${MAX_CPUS} (default 1)` },
  ...DEVICE_OPTIONS,
  console: {
    value: CONSOLES.join('|'),
    help: 'where the shell is, or a command (default virtio; serial for --kernel)',
  },
  'root-ports': { help: 'put each device behind a PCI Express root port of its own' },
  'pci-bridge': { help: 'put the devices behind one bridge to a conventional PCI bus' },
  iommu: { value: IOMMU_VALUE, help: 'a virtio-iommu in front of all devices, or of disk0+net0 and so on' },
  'iommu-trace': { value: 'FILE', help: 'write what happens there to FILE, for `bulkhead iommu report`' },
  'iommu-check': { help: 'end with status 3 in place of 0 if the guest broke its rules' },
  'dump-dtb': { value: 'FILE', help: 'write the device tree that the guest gets, and go on' },
  'dump-acpi': { value: 'DIR', help: 'write the ACPI tables that the guest gets, and go on' },
  packed: { help: 'offer packed virtqueues' },
  name: { value: 'NAME', help: 'name of the instance (default guest-PID)' },
  host: { value: 'auto|kvm|rig', help: "run on this host's KVM, or inside the rig (default auto)" },
  protocol: { value: PROTOCOLS.join('|'), help: "how to enter the kernel (default: by the image's format)" },
  timeout: { value: 'S', help: 'end the guest after S seconds, with status 124' },
  reboot: { help: 'start the guest again when it resets (default: end)' },
  loglevel: { value: LOG_LEVELS.join('|'), help: 'how much to tell on standard error (default warning)' },
}

/** An IOMMU that was asked for. */
export interface IommuRequest {
  readonly config: IommuConfig
  /** The option's value, which the rig's inner run gets again. */
  readonly words: string
  /** Where its trace goes. */
  readonly traceFile: string | undefined
  /** The guest's breaches of the specification count. */
  readonly check: boolean
}

/** What `run` was asked to do. */
export interface RunRequest {
  readonly kernel: string | undefined
  readonly initrd: string | undefined
  readonly params: string
  readonly memoryMiB: number
  readonly cpus: number
  readonly name: string
  readonly host: HostChoice
  readonly protocol: BootProtocol | undefined
  readonly timeoutMs: number | undefined
  readonly reboot: boolean
  readonly logLevel: LogLevel
  /** Where Linux's console is, or a command's streams. */
  readonly console: ConsoleChoice
  readonly devices: DeviceRequests
  readonly rootPorts: boolean
  readonly pciBridge: boolean
  readonly packedRings: boolean
  readonly iommu: IommuRequest | undefined
  readonly dump: FirmwareDump
  /** Undefined: an interactive console. */
  readonly command: readonly string[] | undefined
}

/** Parses the words behind `run`; throws `BadInput`. */
export function parseRun(words: readonly string[]): RunRequest {
  const parsed = parseArguments('run', words, RUN_OPTIONS)
  const { values, switches, positionals, rest } = parsed
  noPositionals('run', positionals)
  if (rest?.length === 0) throw new BadInput('-- is followed by the command to run in the guest')
  const { kernel, initrd } = values
  if (rest !== undefined && initrd !== undefined)
    throw new BadInput('a command runs in the default initrd: leave out --initrd, or the command')
  if (rest !== undefined && values['protocol'] === 'multiboot')
    throw new BadInput('a command runs in Linux: leave out --protocol multiboot, or the command')
  if (kernel === undefined && initrd !== undefined) throw new BadInput('--initrd goes with --kernel')
  if (switches.has('root-ports') && switches.has('pci-bridge'))
    throw new BadInput('devices are behind --root-ports or behind a --pci-bridge: leave one of them out')
  if (rest !== undefined && switches.has('reboot')) throw new BadInput('--reboot goes with an interactive console')
  const memoryMiB = values['mem'] === undefined ? DEFAULT_MEMORY_MIB : parseMemory('--mem', values['mem'])
  if (memoryMiB < MIN_MEMORY_MIB || memoryMiB > MAX_MEMORY_MIB)
    throw new BadInput(`--mem must be ${MIN_MEMORY_MIB}M to ${MAX_MEMORY_MIB}M, not "${values['mem']}"`)
  if (values['name'] !== undefined) checkInstanceName(values['name'])
  return {
    kernel,
    initrd,
    params: values['params'] ?? '',
    memoryMiB,
    cpus: values['cpus'] === undefined ? 1 : parseInteger('--cpus', values['cpus'], 1, MAX_CPUS),
    name: values['name'] ?? `guest-${process.pid}`,
    host: parseChoice('--host', values['host'] ?? 'auto', HOSTS),
    protocol: values['protocol'] === undefined ? undefined : parseChoice('--protocol', values['protocol'], PROTOCOLS),
    timeoutMs: values['timeout'] === undefined ? undefined : parseSeconds('--timeout', values['timeout']),
    reboot: switches.has('reboot'),
    logLevel: parseChoice('--loglevel', values['loglevel'] ?? 'warning', LOG_LEVELS),
    // A kernel of the user's own may have no virtio console, and shows its start on the serial one.
    console: parseChoice('--console', values['console'] ?? (kernel === undefined ? 'virtio' : 'serial'), CONSOLES),
    devices: parseDevices(parsed),
    rootPorts: switches.has('root-ports'),
    pciBridge: switches.has('pci-bridge'),
    packedRings: switches.has('packed'),
    iommu: parseIommuRequest(parsed),
    dump: { deviceTree: values['dump-dtb'], acpi: values['dump-acpi'] },
    command: rest,
  }
}

function parseIommuRequest({ values, switches }: Arguments): IommuRequest | undefined {
  const { iommu: words, 'iommu-trace': traceFile } = values
  const check = switches.has('iommu-check')
  if (words !== undefined) return { config: parseIommu(words), words, traceFile, check }
  const alone = traceFile === undefined ? check && '--iommu-check' : '--iommu-trace'
  if (alone) throw new BadInput(`${alone} goes with --iommu`)
  return undefined
}

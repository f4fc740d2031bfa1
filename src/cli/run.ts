/** The `run` command: finds the images, chooses the host, runs the guest, says how it ended. */
import { basename } from 'node:path'
import { BadInput } from '../base/errors.ts'
import { Log } from '../base/log.ts'
import { type KvmHost, kvmHost } from '../kvm/host-kind.ts'
import { isMultiboot, type MachineConfig, planMachine } from '../machine/config.ts'
import type { DeviceConfig } from '../machine/device/kinds.ts'
import { requireKvm } from '../machine/host.ts'
import { planIommu } from '../machine/iommu-plan.ts'
import type { Result } from './commands.ts'
import { checkDevices } from './device-checks.ts'
import { requestedDevices } from './device-options.ts'
import { checkDump, dumpFirmware, isDumped } from './firmware-dump.ts'
import { mapImage } from './images.ts'
import { checkOutputs } from './output-files.ts'
import { runOnKvm } from './run-kvm.ts'
import { parseRun, type RunRequest } from './run-options.ts'
import { consoleSession, type Session } from './session.ts'
import { type End, Status } from './status.ts'
import { isInteractive, rawTerminal, type TerminalSize, terminalSize, writeMessage } from './terminal.ts'

/** What Linux needs to talk to us, for kernels that the user brings. */
const LINUX_PARAMS = 'console=ttyS0 panic=-1 reboot=k'

/** The files that a guest boots from, by their paths. */
export interface GuestFiles {
  readonly kernel: string
  readonly initrd: string | undefined
  /** Kernel parameters of the default guest; undefined when none of it is used. */
  readonly defaultParams: string | undefined
}

/** `bulkhead run`. */
export async function run(words: readonly string[]): Promise<Result> {
  const request = parseRun(words)
  const log = new Log(request.logLevel, line => writeMessage(`${line}\n`))
  log.phase('command line parsed')
  const host = request.host === 'rig' ? undefined : kvmHost()
  const runsInRig = request.host === 'rig' || (request.host === 'auto' && host?.runsLinux === false)
  if (handedOver() === undefined) {
    checkOutputs(request)
    await checkDevices(request.devices, runsInRig)
    checkBeforeFetch(request, host)
  }
  const files = await findFiles(request, log)
  // Inside the rig the terminal belongs to the outer process, which says so.
  const outer = outerTerminal()
  const terminal = outer ?? (isInteractive() ? terminalSize() : undefined)
  const config = await configure(request, files, terminal, log)
  // Refuses bad input before a rig is started for it, or a file written; here, the machine does the same before it
  // touches the host.
  const planned = { ...config, devices: plannedDevices(request, hasVirtioConsole(request, config)) }
  if (runsInRig || isDumped(request.dump)) planMachine(planned)
  dumpFirmware(planned, request.dump)
  log.phase('guest planned')
  if (host?.runsLinux === false) {
    if (runsInRig) log.warning(`this host cannot run the guest itself, so it runs in the rig: ${host.reason}`)
    else if (!isMultiboot(config.kernel.image, request.protocol)) refuseHost(host)
  }
  const ownsTerminal = terminal !== undefined && outer === undefined
  using raw = ownsTerminal ? rawTerminal() : undefined
  const end = runsInRig
    ? await (await import('./run-rig.ts')).runInRig(request, files, { log, ownsTerminal })
    : await runHere(request, config, log, terminal, ownsTerminal)
  raw?.[Symbol.dispose]()
  report(end, log)
  return { status: end.status, hasty: end.interrupted === true }
}

async function runHere(
  request: RunRequest,
  config: MachineConfig,
  log: Log,
  terminal: TerminalSize | undefined,
  escapes: boolean,
): Promise<End> {
  const closed = Promise.withResolvers<void>()
  const onClosed = closed.resolve
  const linux = !isMultiboot(config.kernel.image, request.protocol)
  const virtio = hasVirtioConsole(request, config)
  const session: Session =
    request.command === undefined
      ? consoleSession({ escapes, linux, virtio: virtio ? { size: terminal } : undefined, onClosed })
      : new (await import('./command-session.ts')).CommandSession({ log, terminal, escapes, virtio, onClosed })
  const devices = [...(session.console === undefined ? [] : [session.console]), ...(config.devices ?? [])]
  // Loaded only for devices that other programs serve: it brings the package tools along.
  const { networks, shares } = request.devices
  const needsPrograms = networks.length + shares.length > 0
  const complete = needsPrograms ? await (await import('./programs.ts')).withPrograms(devices) : devices
  const machine = { ...config, devices: complete, flowControl: session.flowControl }
  const context = { log, session, outputClosed: closed.promise, ownsTerminal: escapes }
  const end = await runOnKvm(request, machine, context)
  const isGuests = end.message !== undefined && end.status !== Status.timeout && end.status !== Status.findings
  if (isGuests) for (const line of session.lastLines()) log.error(`guest: ${line}`)
  return end
}

/** Whether the session puts a virtio console into the machine. */
function hasVirtioConsole(request: RunRequest, { kernel }: Pick<MachineConfig, 'kernel'>): boolean {
  return request.console === 'virtio' && !isMultiboot(kernel.image, request.protocol)
}

/** The devices of the machine, for a plan: the session's console comes first. */
function plannedDevices(request: RunRequest, hasConsole: boolean): readonly DeviceConfig[] {
  return [...(hasConsole ? [{ kind: 'console' } as const] : []), ...requestedDevices(request.devices)]
}

/** What needs the default guest is refused, where it can be, before that is fetched for it. */
function checkBeforeFetch(request: RunRequest, host: KvmHost | undefined): void {
  const { kernel, command, memoryMiB, cpus, protocol, iommu, rootPorts, pciBridge, dump } = request
  checkDump(dump, iommu?.config.topology)
  if (iommu !== undefined && kernel === undefined)
    planIommu(iommu.config, {
      devices: plannedDevices(request, request.console === 'virtio'),
      rootPorts,
      pciBridge,
    })
  if (kernel !== undefined && command === undefined) return
  if (kernel !== undefined) {
    const image = mapImage('--kernel', kernel)
    refuseCommand(image, kernel, request)
    planMachine({ memoryMiB, cpus, kernel: { image, name: kernel, ...(protocol === undefined ? {} : { protocol }) } })
  }
  if (request.host === 'kvm' && host?.runsLinux === false) refuseHost(host)
}

/** A command needs Linux around it. */
function refuseCommand(image: Uint8Array, kernel: string, { command, protocol }: RunRequest): void {
  if (command !== undefined && isMultiboot(image, protocol))
    throw new BadInput(`a command runs in Linux, and ${kernel} is a multiboot kernel: leave out the command`)
}

/** Linux on a KVM that cannot run it. */
function refuseHost(host: Extract<KvmHost, { runsLinux: false }>): void {
  if (!host.opens) requireKvm()
  throw new BadInput(`this host cannot run Linux, ${host.reason}: use --host rig`)
}

/** The user's files, or the default guest's, which are fetched on first use. */
async function findFiles(request: RunRequest, log: Log): Promise<GuestFiles> {
  const { kernel, initrd, command } = request
  if (kernel !== undefined && command === undefined) return { kernel, initrd, defaultParams: undefined }
  const guest = handedOver() ?? (await (await import('../guest/default-guest.ts')).prepareDefaultGuest({ log }))
  log.phase('default guest ready')
  return { kernel: kernel ?? guest.kernel, initrd: guest.initrd, defaultParams: guest.params }
}

/** Inside the rig: the default guest as the outer process prepared it. */
function handedOver(): { kernel: string; initrd: string; params: string } | undefined {
  const text = process.env['BULKHEAD_GUEST']
  return text === undefined ? undefined : (JSON.parse(text) as { kernel: string; initrd: string; params: string })
}

/** Inside the rig: the size of the terminal at the outer process, if there is one. */
function outerTerminal(): TerminalSize | undefined {
  const text = process.env['BULKHEAD_TERMINAL']
  return text === undefined ? undefined : (JSON.parse(text) as TerminalSize)
}

async function configure(
  request: RunRequest,
  files: GuestFiles,
  terminal: TerminalSize | undefined,
  log: Log,
): Promise<MachineConfig> {
  const image = mapImage('--kernel', files.kernel)
  const parts: Uint8Array[] = []
  if (files.initrd !== undefined) parts.push(mapImage('--initrd', files.initrd))
  if (files.initrd !== undefined && parts[0]?.length === 0)
    throw new BadInput(`--initrd ${files.initrd}: the file is empty`)
  if (request.command !== undefined || request.kernel === undefined) {
    const { jobCpio } = await import('../guest/job.ts')
    const { shares, networks } = request.devices
    const network = networks[0]?.config.mode
    parts.push(
      jobCpio({
        argv: request.command,
        terminal,
        term: process.env['TERM'],
        shares: shares.map(({ tag }) => tag),
        ...(network === undefined ? {} : { network }),
      }),
    )
  }
  const isLinux = !isMultiboot(image, request.protocol)
  // A kernel of the user's own that is Linux is told how to talk to us; the default guest's recipe knows.
  const params = files.defaultParams ?? (isLinux ? LINUX_PARAMS : '')
  return {
    memoryMiB: request.memoryMiB,
    cpus: request.cpus,
    kernel: {
      image,
      name: request.kernel ?? basename(files.kernel),
      ...(request.protocol === undefined ? {} : { protocol: request.protocol }),
    },
    ...(parts.length === 0 ? {} : { initrd: { parts, name: request.initrd ?? 'the initrd' } }),
    cmdline: `${params} ${request.params}`.trim(),
    devices: requestedDevices(request.devices),
    rootPorts: request.rootPorts,
    pciBridge: request.pciBridge,
    packedRings: request.packedRings,
    ...(request.iommu === undefined ? {} : { iommu: request.iommu.config }),
    warn: message => log.warning(message),
    ...(log.shows('debug') ? { debug: (message: string) => log.debug(message) } : {}),
  }
}

function report(end: End, log: Log): void {
  if (end.details !== undefined) process.stderr.write(`${end.details}\n`)
  if (end.message !== undefined) log.error(end.message)
}

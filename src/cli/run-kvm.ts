/** Runs a guest on this host's KVM. */
import { readFileSync } from 'node:fs'
import type { Log } from '../base/log.ts'
import { serveChannel } from '../control/channel.ts'
import { machineControl } from '../control/machine-control.ts'
import { type ControlHandler, ControlServer } from '../control/server.ts'
import type { MachineConfig } from '../machine/config.ts'
import type { DeviceConfig } from '../machine/device/kinds.ts'
import { TraceFile } from '../machine/iommu-trace-file.ts'
import type { IommuFinding } from '../machine/iommu-view.ts'
import { Machine, type Outcome } from '../machine/machine.ts'
import { findingLines, joinFindings, judgeFindings } from './iommu-check.ts'
import type { RunRequest } from './run-options.ts'
import type { Session } from './session.ts'
import { ENDING_SIGNALS, type End, judge, SIGPIPE, Status } from './status.ts'
import { type TerminalSize, watchTerminalSize } from './terminal.ts'

/** What a run needs to know besides its request. */
export interface RunContext {
  readonly log: Log
  readonly session: Session
  /** Ends the run when nobody takes its output any more. */
  readonly outputClosed: Promise<void>
  /** The user's terminal is this process's own, and the guest's. */
  readonly ownsTerminal: boolean
}

/** Runs the guest to its end. */
export async function runOnKvm(request: RunRequest, wanted: MachineConfig, context: RunContext): Promise<End> {
  const { log, session } = context
  const config = { ...wanted, devices: wanted.devices?.map(unbound) ?? [] }
  // Plans the machine: bad input ends here, before there is anything to clean up.
  let machine = new Machine(config)
  let findings: readonly IommuFinding[] = []
  const facts = { name: request.name, kernel: config.kernel.name, startedMs: performance.now() }
  let handler: ControlHandler = machineControl(machine, facts)
  using _control = await openControl(request.name, (method, params) => handler(method, params))
  // Once the name is known to be free: a file is not emptied for a guest that never starts.
  using trace = openTrace(request, log)
  trace?.follow(machine)
  const onResize = ({ cols, rows }: TerminalSize) => machine.ports[0]?.resize(cols, rows)
  using _watch = context.ownsTerminal ? watchTerminalSize(onResize) : undefined
  const interruption = new Interruption(request.timeoutMs, context.outputClosed, () => machine.stop())
  try {
    // For the whole run: the host's drivers do not get the devices back in between when the guest resets.
    using _bound = await bindDevices(wanted)
    for (;;) {
      const outcome = await runOnce(machine, context)
      if (request.iommu?.check === true) findings = joinFindings(findings, await findingsOf(machine))
      const again = request.reboot && outcome.type === 'reset' && !interruption.happened && !session.sawPanic
      if (!again) {
        for (const line of findingLines(findings)) log.error(line)
        const hasCommand = request.command !== undefined
        const end = interruption.end ?? judge(withPanic(outcome, session), hasCommand, session.commandStatus)
        return judgeFindings(end, findings)
      }
      log.info('the guest resets')
      machine = new Machine(config)
      trace?.follow(machine)
      handler = machineControl(machine, facts)
    }
  } finally {
    interruption.disarm()
  }
}

/** The device without the wish to be bound, which is the run's. */
function unbound(device: DeviceConfig): DeviceConfig {
  return device.kind === 'vfio' ? { ...device, bind: false } : device
}

async function bindDevices({ devices = [] }: MachineConfig): Promise<Disposable | undefined> {
  const passed = devices.filter(device => device.kind === 'vfio')
  return passed.length === 0 ? undefined : (await import('../machine/device/vfio.ts')).bindDevices(passed)
}

async function runOnce(machine: Machine, { session, log }: RunContext): Promise<Outcome> {
  session.attach(machine)
  await machine.start()
  log.phase('guest started')
  const outcome = await machine.finished
  log.phase('guest ended')
  if (log.shows('debug')) log.debug(`memory beyond guest RAM: ${peakMemoryKiB()} KiB`)
  await machine.close()
  return outcome
}

/** What the guest's driver did against the rules; nothing where the devices failed and so cannot tell. */
async function findingsOf({ iommu }: Machine): Promise<readonly IommuFinding[]> {
  return (await iommu?.findings().catch(() => [])) ?? []
}

/** The file of `--iommu-trace`; a guest that resets goes on in it. */
function openTrace({ iommu }: RunRequest, log: Log): (Disposable & { follow(machine: Machine): void }) | undefined {
  if (iommu?.traceFile === undefined) return undefined
  const file = TraceFile.create(iommu.traceFile, message => log.warning(message))
  return {
    follow: machine => void machine.iommu?.trace.add(lines => file.write(lines)),
    [Symbol.dispose]: () => file.close(),
  }
}

/** Peak resident memory of this process less guest RAM, which is the only shared memory of any size. */
function peakMemoryKiB(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  const kib = (field: string) => Number(new RegExp(`^${field}:\\s+([0-9]+)`, 'm').exec(status)?.[1] ?? 0)
  return kib('VmHWM') - kib('RssShmem')
}

/** A kernel that panics before it has a panic device can only reset. */
function withPanic(outcome: Outcome, session: Session): Outcome {
  return outcome.type === 'reset' && session.sawPanic ? { type: 'panic' } : outcome
}

/** The instance's control socket; inside the rig, the port that leads to the outer instance. */
async function openControl(name: string, handler: ControlHandler): Promise<Disposable> {
  const channel = process.env['BULKHEAD_CONTROL']
  if (channel === undefined) {
    const server = await ControlServer.listen(name, handler)
    return { [Symbol.dispose]: () => server.close() }
  }
  return serveChannel(channel, handler)
}

/** What may end a run from outside: signals, the time-out, a closed output. */
class Interruption {
  end: End | undefined
  private readonly timer: ReturnType<typeof setTimeout> | undefined
  private readonly handlers = new Map<string, () => void>()

  constructor(timeoutMs: number | undefined, outputClosed: Promise<void>, stop: () => void) {
    const interrupt = (end: End) => {
      this.end ??= end
      stop()
    }
    const timeout = {
      status: Status.timeout,
      interrupted: true,
      message: `timed out after ${(timeoutMs ?? 0) / 1000} s`,
    }
    if (timeoutMs !== undefined) this.timer = setTimeout(() => interrupt(timeout), timeoutMs)
    for (const [signal, number] of Object.entries(ENDING_SIGNALS)) {
      const handle = () => interrupt({ status: 128 + number, interrupted: true })
      this.handlers.set(signal, handle)
      process.on(signal, handle)
    }
    void outputClosed.then(() => interrupt({ status: 128 + SIGPIPE, interrupted: true }))
  }

  get happened(): boolean {
    return this.end !== undefined
  }

  disarm(): void {
    clearTimeout(this.timer)
    for (const [signal, handle] of this.handlers) process.off(signal, handle)
  }
}

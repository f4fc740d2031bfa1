/**
 * A command's streams. COM1 is the kernel's console, kept for messages. The rest goes over the virtio console: ports
 * named bulkhead.in, .out, .err and .job for pipes, hvc0 for a terminal; or, where the guest's kernel has none, over
 * COM2 (input and output), COM3 (errors) and COM4 (what bulkhead.job carries). guests/default/init chooses, and reports
 * on the job stream: `init`, `ready`, then `status N`.
 */
import type { Log } from '../base/log.ts'
import { StdinEncoder } from '../guest/stdin-encoder.ts'
import type { Console } from '../machine/console.ts'
import type { VirtioConsoleConfig } from '../machine/device/console.ts'
import type { Machine } from '../machine/machine.ts'
import type { MachinePort } from '../machine/port.ts'
import { PANIC, pump, type Session } from './session.ts'
import { streamWriter, Tail } from './streams.ts'
import { guestEscapes, type TerminalSize } from './terminal.ts'

/** How many lines of the kernel's console go with a failure. */
const TAIL_LINES = 25
const STREAMS = ['bulkhead.in', 'bulkhead.out', 'bulkhead.err', 'bulkhead.job'] as const
/** Any line answers the guest's wish to know that its output has arrived. */
const GOODBYE = new TextEncoder().encode('done\n')

/** What a command's session needs to know. */
export interface CommandStreams {
  readonly log: Log
  /** The user's terminal, raw, is the command's; its size. */
  readonly terminal: TerminalSize | undefined
  /** Ctrl-A is ours to act on. */
  readonly escapes: boolean
  /** Offer the guest a virtio console. */
  readonly virtio: boolean
  readonly onClosed: () => void
}

/** A command's streams. */
export class CommandSession implements Session {
  /** Standard input may be longer than what the guest's tty holds. */
  readonly flowControl = [false, true, false, false]
  readonly console: VirtioConsoleConfig | undefined
  commandStatus: number | undefined
  private readonly tail = new Tail()
  private readonly reports = new Tail()
  private booted = false
  private started = false

  constructor(private readonly streams: CommandStreams) {
    const { virtio, terminal } = streams
    if (!virtio) return
    // A lone console has its size in its configuration space, which every kernel reads right.
    this.console =
      terminal === undefined
        ? { kind: 'console', ports: [{}, ...STREAMS.map(name => ({ name }))] }
        : { kind: 'console', ports: [{ columns: terminal.cols, rows: terminal.rows }] }
  }

  attach(machine: Machine): void {
    const { log, onClosed, terminal } = this.streams
    const [kernel, output, errors, report] = machine.consoles
    const writeErrors = streamWriter(process.stderr, onClosed)
    const writeOutput = streamWriter(process.stdout, onClosed)
    kernel?.onOutput(bytes => {
      this.tail.push(bytes)
      return log.shows('debug') ? writeErrors(bytes) : undefined
    })
    for (const stream of [output, machine.port('bulkhead.out')]) stream?.onOutput(writeOutput)
    for (const stream of [errors, machine.port('bulkhead.err')]) stream?.onOutput(writeErrors)
    if (terminal !== undefined) machine.ports[0]?.onOutput(writeOutput)
    const virtio = terminal === undefined ? machine.port('bulkhead.in') : machine.ports[0]
    // Reports over COM4 come from a kernel that has no virtio console, or with a terminal.
    report?.onOutput(bytes => this.onReport(machine, (terminal && virtio) ?? output, bytes))
    const job = machine.port('bulkhead.job')
    job?.onOutput(bytes => this.onReport(machine, virtio, bytes))
    if (job !== undefined) this.sayGoodbye(machine, job)
  }

  get sawPanic(): boolean {
    return PANIC.test(this.tail.text)
  }

  lastLines(): readonly string[] {
    // The trace that follows a panic's own line may be longer than what is shown.
    return this.tail.lines(TAIL_LINES, PANIC)
  }

  private onReport(machine: Machine, input: Console | undefined, bytes: Uint8Array): void {
    this.reports.push(bytes)
    const text = this.reports.text.replaceAll('\r', '')
    const status = /^status ([0-9]+)\n/m.exec(text)?.[1]
    if (status !== undefined) this.commandStatus = Number(status) & 0xff
    if (!this.booted) this.streams.log.phase('guest kernel up')
    this.booted = true
    if (this.started || !/^ready\n/m.test(text)) return
    this.started = true
    this.streams.log.phase('command started')
    if (input !== undefined) void this.sendInput(machine, input)
  }

  /** Only once the guest is ready: what comes earlier would be thrown away when it opens its tty. */
  private async sendInput(machine: Machine, input: Console): Promise<void> {
    const { terminal, escapes } = this.streams
    if (terminal !== undefined) {
      const filter = guestEscapes(machine, text => void process.stderr.write(text))
      await pump(bytes => input.write(escapes ? filter.filter(bytes) : bytes))
      return
    }
    const port = machine.ports.find(candidate => candidate === input)
    if (port !== undefined) {
      await pump(bytes => port.write(bytes))
      port.end()
      return
    }
    const encoder = new StdinEncoder()
    await pump(bytes => input.write(encoder.encode(bytes)))
    await input.write(encoder.end())
  }

  /** Once the guest has closed both outputs and all of them has come through: it waits for that to power off. */
  private sayGoodbye(machine: Machine, job: MachinePort): void {
    const outputs = ['bulkhead.out', 'bulkhead.err'].map(name => machine.port(name))
    const closed = outputs.map(
      port =>
        new Promise<void>(resolve => {
          port?.onGuestOpened(isOpen => {
            if (!isOpen) resolve()
          })
        }),
    )
    void Promise.all(closed).then(async () => {
      await Promise.all(outputs.map(port => port?.flush()))
      await job.write(GOODBYE)
    })
  }
}

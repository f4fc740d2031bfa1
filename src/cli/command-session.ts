/**
 * A command's streams. COM1 is the kernel's console, kept for messages; COM2 is the command's input and output, COM3 its
 * errors, COM4 what guests/default/init reports: `init`, `ready`, then `status N`.
 */
import type { Log } from '../base/log.ts'
import { StdinEncoder } from '../guest/stdin-encoder.ts'
import type { Machine } from '../machine/machine.ts'
import { PANIC, pump, type Session } from './session.ts'
import { streamWriter, Tail } from './streams.ts'
import { guestEscapes } from './terminal.ts'

/** How many lines of the kernel's console go with a failure. */
const TAIL_LINES = 25

/** A command's streams. `terminal`: the user's raw terminal is the command's. */
export class CommandSession implements Session {
  /** Standard input may be longer than what the guest's tty holds. */
  readonly flowControl = [false, true, false, false]
  commandStatus: number | undefined
  private readonly tail = new Tail()
  private readonly reports = new Tail()
  private booted = false
  private started = false

  constructor(
    private readonly log: Log,
    private readonly terminal: boolean,
    private readonly escapes: boolean,
    private readonly onClosed: () => void,
  ) {}

  attach(machine: Machine): void {
    const [kernel, output, errors, report] = machine.consoles
    const writeErrors = streamWriter(process.stderr, this.onClosed)
    kernel?.onOutput(bytes => {
      this.tail.push(bytes)
      return this.log.shows('debug') ? writeErrors(bytes) : undefined
    })
    output?.onOutput(streamWriter(process.stdout, this.onClosed))
    errors?.onOutput(writeErrors)
    report?.onOutput(bytes => this.onReport(machine, bytes))
  }

  get sawPanic(): boolean {
    return PANIC.test(this.tail.text)
  }

  lastLines(): readonly string[] {
    // The trace that follows a panic's own line may be longer than what is shown.
    return this.tail.lines(TAIL_LINES, PANIC)
  }

  private onReport(machine: Machine, bytes: Uint8Array): void {
    this.reports.push(bytes)
    const text = this.reports.text.replaceAll('\r', '')
    const status = /^status ([0-9]+)\n/m.exec(text)?.[1]
    if (status !== undefined) this.commandStatus = Number(status) & 0xff
    if (!this.booted) this.log.phase('guest kernel up')
    this.booted = true
    if (this.started || !/^ready\n/m.test(text)) return
    this.started = true
    this.log.phase('command started')
    void this.sendInput(machine)
  }

  /** Only once the guest is ready: what comes earlier would be thrown away when it opens its tty. */
  private async sendInput(machine: Machine): Promise<void> {
    const port = machine.consoles[1]
    if (port === undefined) return
    if (this.terminal) {
      const filter = guestEscapes(machine, text => void process.stderr.write(text))
      await pump(bytes => port.write(this.escapes ? filter.filter(bytes) : bytes))
      return
    }
    const encoder = new StdinEncoder()
    await pump(bytes => port.write(encoder.encode(bytes)))
    await port.write(encoder.end())
  }
}

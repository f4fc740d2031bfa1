/** One command run in L1: its streams, its control channel and its exit status. */
import { HostError } from '../base/errors.ts'
import { EndMarker } from './end-marker.ts'
import { type Connection, type Job, jobScript, newMarker } from './job.ts'
import type { L1 } from './l1.ts'
import { driveSlot, PORTS, type PortName } from './qemu.ts'
import type { PortSocket } from './sockets.ts'

/** A job is taken in 20 ms; a restored machine that is broken shows by silence. */
const START_LIMIT_MS = 30_000
/**
 * How often an empty line goes to L1, which ignores it. When L1 leaves its guest, QEMU's TCG changes the CPU's pending
 * interrupts without a lock (`do_vmexit` in 7.2) and so can forget one that comes at that moment. If that was the timer
 * of an L1 that goes idle, L1 sleeps for good, with the interrupt in its APIC; any other interrupt wakes it.
 */
const POKE_MS = 1000

/** In L1: a stream of bytes to us beside the command's output. */
export const TRACE_PORT = '/dev/virtio-ports/bulkhead.trace'

/** What L1 runs. */
export interface RunCommand {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly driveCount: number
  readonly archives: readonly string[]
  readonly network: boolean
  readonly folders: readonly string[]
  readonly connection: Connection
  /** The command is ended after this long, and `exit` rejects. Nothing: no limit. */
  readonly timeoutS?: number
}

/** Waits for L1 to say `word` on its job port, and throws if it ends first or is silent for too long. */
export async function expectLine(l1: L1, lines: AsyncGenerator<string>, word: string, limitMs: number): Promise<void> {
  const timer = Promise.withResolvers<'late'>()
  const handle = setTimeout(() => timer.resolve('late'), limitMs)
  try {
    const line = await Promise.race([lines.next(), timer.promise])
    if (line === 'late') throw l1.failure(`it did not answer within ${limitMs / 1000} s`)
    if (!line.done && line.value === word) return
    if (line.done) await l1.ended
    throw l1.failure(line.done ? 'it ended while it started' : `it said "${line.value}" and not "${word}"`)
  } finally {
    clearTimeout(handle)
  }
}

/**
 * A running command. Read `stdout` and `stderr` to their ends (or `terminal` when interactive): unread output makes
 * the command wait.
 */
export class RigRun {
  /** The command's exit status as a shell gives it; rejects with a `HostError` if L1 dies or the limit passes. */
  readonly exit: Promise<number>
  readonly #marker = newMarker()
  readonly #exit = Promise.withResolvers<number>()
  #limit: ReturnType<typeof setTimeout> | undefined
  #poke: ReturnType<typeof setInterval> | undefined
  #late = false

  private constructor(
    private readonly l1: L1,
    private readonly ports: Readonly<Record<PortName, PortSocket>>,
    private readonly timeoutS: number | undefined,
  ) {
    this.exit = this.#exit.promise
    // The caller may look at it only after the streams have ended.
    this.exit.catch(() => {})
  }

  /** Hands the command to an L1 that waits for one. */
  static async begin(l1: L1, lines: AsyncGenerator<string>, what: RunCommand): Promise<RigRun> {
    const names = [...PORTS, 'terminal'] as const
    const entries = await Promise.all(names.map(async name => [name, await l1.port(name)] as const))
    const ports = Object.fromEntries(entries) as Record<PortName, PortSocket>
    const run = new RigRun(l1, ports, what.timeoutS)
    const script = jobScript({
      command: what.command,
      env: what.env,
      slots: Array.from({ length: what.driveCount }, (_, index) => driveSlot(index)),
      archives: what.archives,
      network: what.network,
      folders: what.folders,
      connection: what.connection,
      clockMs: Date.now(),
      marker: run.#marker,
    } satisfies Job)
    const body = Buffer.from(script)
    await ports.job.write(Buffer.concat([Buffer.from(`job ${body.length}\n`), body]))
    await expectLine(l1, lines, 'started', START_LIMIT_MS)
    run.#watch(lines)
    return run
  }

  /** The command's standard input; null ends it. Resolves when the bytes are on their way. */
  async stdin(bytes: Uint8Array | null): Promise<void> {
    if (bytes === null) this.ports.stdin.end()
    else await this.ports.stdin.write(bytes)
  }

  get stdout(): AsyncGenerator<Uint8Array> {
    return this.#output(this.ports.stdout)
  }

  get stderr(): AsyncGenerator<Uint8Array> {
    return this.#output(this.ports.stderr)
  }

  /** What a command writes to TRACE_PORT; it comes to its end when the command does. */
  get trace(): AsyncGenerator<Uint8Array> {
    return this.#output(this.ports.trace)
  }

  /** What an interactive command prints on its terminal. */
  get terminal(): AsyncGenerator<Uint8Array> {
    return this.#output(this.ports.terminal)
  }

  /** What is typed at an interactive command. */
  type(bytes: Uint8Array): Promise<void> {
    return this.ports.terminal.write(bytes)
  }

  /** The other end of what L1's command opens at $BULKHEAD_CONTROL. */
  get control(): PortSocket {
    return this.ports.control
  }

  /** Sends a signal to the command: `signal('TERM')`. */
  signal(name: 'INT' | 'TERM' | 'HUP' | 'KILL'): Promise<void> {
    return this.ports.job.write(Buffer.from(`signal ${name}\n`))
  }

  /** Tells an interactive command its terminal's new size. */
  resize(rows: number, columns: number): Promise<void> {
    return this.ports.job.write(Buffer.from(`size ${rows} ${columns}\n`))
  }

  /** Ends L1 at once and removes what the run left. Call it when the run is over, however that came. */
  async kill(): Promise<void> {
    clearTimeout(this.#limit)
    clearInterval(this.#poke)
    await this.l1.kill()
  }

  #watch(lines: AsyncGenerator<string>): void {
    this.#readStatus(lines).then(this.#exit.resolve, this.#exit.reject)
    this.#poke = setInterval(() => void this.ports.job.write(Buffer.from('\n')), POKE_MS).unref()
    if (this.timeoutS === undefined) return
    this.#limit = setTimeout(() => {
      this.#late = true
      void this.kill()
    }, this.timeoutS * 1000)
  }

  async *#output(port: PortSocket): AsyncGenerator<Uint8Array> {
    const end = new EndMarker(Buffer.from(this.#marker))
    for await (const chunk of port.read()) {
      const output = end.push(chunk)
      if (output.length > 0) yield output
      if (end.found) return
    }
    const rest = end.rest()
    if (rest.length > 0) yield rest
  }

  async #readStatus(lines: AsyncGenerator<string>): Promise<number> {
    for await (const line of lines) {
      const status = /^status (\d+)$/.exec(line)
      if (status) return Number(status[1])
    }
    if (this.#late) throw new HostError(`the command was ended: it ran for more than ${this.timeoutS} s`)
    await this.l1.ended
    throw this.l1.failure('it ended before the command did')
  }
}

/** A program on a terminal of its own, as a person would have it. */
import { spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'

/** Local flags of a terminal, struct termios: line editing, echo, signals by keys. */
const LocalFlags = { isig: 0x01, icanon: 0x02, echo: 0x08 } as const

/** A terminal with one program on it. Close it in the end. */
export class PseudoTerminal {
  /** Settles with the program's status when it ends; 128 + n by signal n. */
  readonly ended: Promise<number>
  private output = ''
  private readonly process: Bun.Subprocess
  private readonly terminal: Bun.Terminal
  /** Opens the terminal again, from outside. */
  readonly device: string

  constructor(command: readonly string[], env: Readonly<Record<string, string>>, rows: number, cols: number) {
    const decoder = new TextDecoder()
    this.terminal = new Bun.Terminal({
      rows,
      cols,
      data: (_, bytes) => {
        this.output += decoder.decode(bytes, { stream: true })
      },
    })
    // The program's own settings must not be what it finds: it starts when they have been read.
    const waiting = ['sh', '-c', 'read -r go; exec "$@"', 'sh', ...command]
    // A session of its own has the terminal as its controlling one, and hears of its size.
    this.process = Bun.spawn(['setsid', '-c', ...waiting], { env, terminal: this.terminal })
    this.device = readlinkSync(`/proc/${this.process.pid}/fd/0`)
    this.ended = this.process.exited
  }

  /** Lets the program start. */
  start(): void {
    this.type('\n')
  }

  /** What the program has written so far. */
  get text(): string {
    return this.output
  }

  /** Types at it. */
  type(keys: string): void {
    this.terminal.write(keys)
  }

  /** Gives the terminal another size, as a window that is dragged does. */
  resize(rows: number, cols: number): void {
    this.terminal.resize(cols, rows)
  }

  signal(name: NodeJS.Signals): void {
    this.process.kill(name)
  }

  /** Resolves once the output matches; throws, with the output, when it does not in time or the program ends before. */
  async shows(pattern: RegExp, limitMs: number): Promise<void> {
    const end = performance.now() + limitMs
    while (!pattern.test(this.output)) {
      if (performance.now() > end || this.process.exitCode !== null)
        throw new Error(`the terminal does not show ${pattern}:\n${this.output}`)
      await Bun.sleep(20)
    }
  }

  /** All settings, as stty(1) gives them for later use. */
  settings(): string {
    const { status, stdout, stderr } = spawnSync('stty', ['-g', '-F', this.device], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`stty: ${stderr}`)
    return stdout.trim()
  }

  /** Whether keys go to the program one by one, unseen and without a meaning of their own. */
  get isRaw(): boolean {
    return (this.terminal.localFlags & (LocalFlags.isig | LocalFlags.icanon | LocalFlags.echo)) === 0
  }

  close(): void {
    this.process.kill('SIGKILL')
    this.terminal.close()
  }
}

/** The user's terminal: raw while a guest has it, and the escape that gets out. */
import { passOutputThrough, setTerminalSettings, terminalSettings } from '../host/terminal.ts'

const CTRL_A = 0x01

/** What Ctrl-A and the next key do. */
export interface EscapeActions {
  /** x: end the guest. */
  readonly quit: () => void
  /** b: a break, Linux's SysRq prefix. */
  readonly sendBreak: () => void
  /** h: show the keys. */
  readonly help: () => void
}

/** Finds the escape in what the user types; Ctrl-A twice sends one. */
export class EscapeFilter {
  private escaped = false

  constructor(private readonly actions: EscapeActions) {}

  /** What of `bytes` is for the guest. */
  filter(bytes: Uint8Array): Uint8Array {
    const passed: number[] = []
    for (const byte of bytes) {
      if (this.escaped) {
        this.escaped = false
        this.act(byte, passed)
      } else if (byte === CTRL_A) this.escaped = true
      else passed.push(byte)
    }
    return Uint8Array.from(passed)
  }

  private act(byte: number, passed: number[]): void {
    switch (String.fromCharCode(byte).toLowerCase()) {
      case 'x':
        this.actions.quit()
        break
      case 'b':
        this.actions.sendBreak()
        break
      case 'h':
      case '?':
        this.actions.help()
        break
      case '\x01':
      case 'a':
        passed.push(CTRL_A)
        break
      default:
    }
  }
}

/** The keys, for `help`. */
const ESCAPE_HELP = '\r\nCtrl-A X  end the guest\r\nCtrl-A B  send a break (SysRq)\r\nCtrl-A A  send Ctrl-A\r\n'

/** The filter for a guest that can be stopped and sent a break; `say` shows the keys. */
export function guestEscapes(guest: { stop(): void; sendBreak(): void }, say: (text: string) => void): EscapeFilter {
  return new EscapeFilter({
    quit: () => guest.stop(),
    sendBreak: () => guest.sendBreak(),
    help: () => say(ESCAPE_HELP),
  })
}

/** Whether a person is at both ends. */
export function isInteractive(): boolean {
  return process.stdin.isTTY === true && process.stdout.isTTY === true
}

/** Rows and columns of the terminal. */
export interface TerminalSize {
  readonly rows: number
  readonly cols: number
}

/** The terminal's size now; 24 x 80 when it does not tell. */
export function terminalSize(): TerminalSize {
  return { rows: process.stdout.rows || 24, cols: process.stdout.columns || 80 }
}

/** Calls `listener` with the terminal's new size, until the result is disposed. */
export function watchTerminalSize(listener: (size: TerminalSize) => void): Disposable {
  const onResize = () => listener(terminalSize())
  process.stdout.on('resize', onResize)
  return { [Symbol.dispose]: () => void process.stdout.off('resize', onResize) }
}

/**
 * Makes the terminal raw until the result is disposed, or the process exits in whatever way it can notice. The raw mode
 * of the runtime goes on turning line feeds into new lines; the guest has done that where it is wanted.
 */
export function rawTerminal(): Disposable {
  const { stdin } = process
  const before = terminalSettings(stdin.fd)
  const restore = () => {
    stdin.setRawMode(false)
    try {
      setTerminalSettings(stdin.fd, before)
    } catch {
      // The terminal went away, and its settings with it.
    }
  }
  stdin.setRawMode(true)
  passOutputThrough(stdin.fd)
  process.on('exit', restore)
  return {
    [Symbol.dispose]: () => {
      process.off('exit', restore)
      restore()
    },
  }
}

/** Writes a message to the user; on a raw terminal a line ends with its carriage return. */
export function writeMessage(text: string): void {
  process.stderr.write(process.stderr.isTTY && process.stdin.isRaw ? text.replace(/\r?\n/g, '\r\n') : text)
}

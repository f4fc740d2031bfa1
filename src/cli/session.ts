/** How a run's consoles meet the process's streams: what every kind of session offers, and the plain console. */
import type { Machine } from '../machine/machine.ts'
import { streamWriter, Tail } from './streams.ts'
import { ESCAPE_HELP, EscapeFilter } from './terminal.ts'

/** The line with which Linux panics, behind its time stamp. */
export const PANIC = /^\[[ 0-9.]+\](\[[ A-Z0-9]+\])? Kernel panic - not syncing/m

/** A run's view of its streams. */
export interface Session {
  /** Serial ports with flow control. */
  readonly flowControl: readonly boolean[]
  /** Connects a machine that is about to start. */
  attach(machine: Machine): void
  /** What the command reported, once it has. */
  readonly commandStatus: number | undefined
  /** The kernel wrote its panic line: it ends in a reset where it has no other way to tell. */
  readonly sawPanic: boolean
  /** The kernel's last words, for a failure whose cause the user has not seen yet. */
  lastLines(): readonly string[]
}

/** COM1 to the user. `escapes` is for a raw terminal. */
export function consoleSession(escapes: boolean, onClosed: () => void): Session {
  const tail = new Tail()
  const write = streamWriter(process.stdout, onClosed)
  return {
    flowControl: [],
    attach: machine => {
      const port = machine.consoles[0]
      if (port === undefined) return
      port.onOutput(bytes => {
        tail.push(bytes)
        return write(bytes)
      })
      const filter = new EscapeFilter({
        quit: () => machine.stop(),
        sendBreak: () => machine.sendBreak(),
        help: () => void write(new TextEncoder().encode(ESCAPE_HELP)),
      })
      void pump(bytes => port.write(escapes ? filter.filter(bytes) : bytes))
    },
    commandStatus: undefined,
    get sawPanic() {
      return PANIC.test(tail.text)
    },
    lastLines: () => [],
  }
}

/** Passes standard input on, piece by piece, at the pace of `send`; ends quietly at its end or when it breaks. */
export async function pump(send: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  try {
    for await (const chunk of process.stdin) await send(chunk as Uint8Array)
  } catch {
    // A terminal that went away is the end of input as well.
  }
}

/** How a run's consoles meet the process's streams: what every kind of session offers, and the plain console. */
import type { Machine } from '../machine/machine.ts'
import { streamWriter, Tail } from './streams.ts'
import { guestEscapes } from './terminal.ts'

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

/**
 * COM1 to the user. `escapes` is for a raw terminal. `linux`: the guest raises RTS when it opens the port, so that what
 * is typed or piped in before that can wait; a test kernel that just polls the port never does.
 */
export function consoleSession(escapes: boolean, linux: boolean, onClosed: () => void): Session {
  const tail = new Tail()
  const write = streamWriter(process.stdout, onClosed)
  // A guest that resets comes back as another machine, with the same input.
  let current: Machine | undefined
  const guest = { stop: () => current?.stop(), sendBreak: () => current?.sendBreak() }
  const filter = guestEscapes(guest, text => void write(new TextEncoder().encode(text)))
  const send = async (bytes: Uint8Array) => current?.consoles[0]?.write(escapes ? filter.filter(bytes) : bytes)
  return {
    flowControl: [linux],
    attach: machine => {
      machine.consoles[0]?.onOutput(bytes => {
        tail.push(bytes)
        return write(bytes)
      })
      const first = current === undefined
      current = machine
      if (first) void pump(send)
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

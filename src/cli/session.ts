/** How a run's consoles meet the process's streams: what every kind of session offers, and the plain console. */
import type { VirtioConsoleConfig } from '../machine/device/console.ts'
import type { Machine } from '../machine/machine.ts'
import { streamWriter, Tail } from './streams.ts'
import { guestEscapes, type TerminalSize } from './terminal.ts'

/** The line with which Linux panics, behind its time stamp. */
export const PANIC = /^\[[ 0-9.]+\](\[[ A-Z0-9]+\])? Kernel panic - not syncing/m

/** A run's view of its streams. */
export interface Session {
  /** Serial ports with flow control. */
  readonly flowControl: readonly boolean[]
  /** The virtio console that the session wants in the machine. */
  readonly console: VirtioConsoleConfig | undefined
  /** Connects a machine that is about to start. */
  attach(machine: Machine): void
  /** What the command reported, once it has. */
  readonly commandStatus: number | undefined
  /** The kernel wrote its panic line: it ends in a reset where it has no other way to tell. */
  readonly sawPanic: boolean
  /** The kernel's last words, for a failure whose cause the user has not seen yet. */
  lastLines(): readonly string[]
}

/** How a console meets the user. */
export interface ConsoleStreams {
  /** A raw terminal, on which Ctrl-A is ours. */
  readonly escapes: boolean
  /** Linux raises RTS when it opens a serial port, so what is typed before can wait; test kernels never do. */
  readonly linux: boolean
  /** hvc0 takes the input, and its output goes to the user like COM1's. Its size, where there is a terminal. */
  readonly virtio: { readonly size: TerminalSize | undefined } | undefined
  readonly onClosed: () => void
}

/** The guest's console to the user: COM1, and hvc0 if it is offered. */
export function consoleSession({ escapes, linux, virtio, onClosed }: ConsoleStreams): Session {
  const tail = new Tail()
  const write = streamWriter(process.stdout, onClosed)
  // A guest that resets comes back as another machine, with the same input.
  let current: Machine | undefined
  const guest = { stop: () => current?.stop(), sendBreak: () => current?.sendBreak() }
  const filter = guestEscapes(guest, text => void write(new TextEncoder().encode(text)))
  const input = () => (virtio === undefined ? current?.consoles[0] : current?.ports[0])
  const send = async (bytes: Uint8Array) => input()?.write(escapes ? filter.filter(bytes) : bytes)
  return {
    flowControl: [linux],
    console: virtio && {
      kind: 'console',
      ports: [virtio.size === undefined ? {} : { columns: virtio.size.cols, rows: virtio.size.rows }],
    },
    attach: machine => {
      for (const console of [machine.consoles[0], machine.ports[0]])
        console?.onOutput(bytes => {
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

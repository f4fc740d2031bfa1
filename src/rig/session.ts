/** What is behind `bulkhead rig run` and `bulkhead rig shell`: a command in L1 on streams of the caller's. */
import type { Readable, Writable } from 'node:stream'
import { type RigOptions, startProgram } from './rig.ts'
import type { RigRun } from './run.ts'

/** The caller's ends. */
export interface Streams {
  readonly stdin: AsyncIterable<Uint8Array> & Pick<Readable, 'pause'>
  readonly stdout: Writable
  readonly stderr: Writable
}

/** A terminal of the caller's, already raw. `onResize` registers a listener and gives what takes it away. */
export interface Terminal {
  readonly rows: number
  readonly columns: number
  readonly onResize?: (listener: (rows: number, columns: number) => void) => () => void
}

/** Runs `argv` in L1 with these streams and gives its exit status. A signal in `abort` ends L1. */
export async function rigRun(argv: readonly string[], streams: Streams, options: RigOptions): Promise<number> {
  const run = await startProgram(argv, 'pipes', options)
  return finish(run, options.abort, async () => {
    void feed(streams.stdin, bytes => run.stdin(bytes)).then(() => run.stdin(null))
    await Promise.all([drain(run.stdout, streams.stdout), drain(run.stderr, streams.stderr)])
  })
}

/** A root shell in L1 on the caller's terminal; gives the shell's exit status. */
export async function rigShell(streams: Streams, terminal: Terminal, options: RigOptions): Promise<number> {
  const run = await startProgram(
    ['setsid', '-c', 'sh', '-l'],
    { rows: terminal.rows, columns: terminal.columns },
    options,
  )
  // The shell gets the console as its controlling terminal, for Ctrl-C and job control.
  const off = terminal.onResize?.((rows, columns) => void run.resize(rows, columns))
  try {
    return await finish(run, options.abort, async () => {
      void feed(streams.stdin, bytes => run.type(bytes))
      await drain(run.terminal, streams.stdout)
    })
  } finally {
    off?.()
  }
}

async function finish(run: RigRun, abort: AbortSignal | undefined, work: () => Promise<void>): Promise<number> {
  const kill = () => void run.kill()
  abort?.addEventListener('abort', kill)
  if (abort?.aborted) kill()
  try {
    await work()
    return await run.exit
  } finally {
    abort?.removeEventListener('abort', kill)
    await run.kill()
  }
}

async function feed(from: Streams['stdin'], send: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  try {
    for await (const chunk of from) await send(chunk)
  } catch {
    // A terminal that went away is the end of input as well.
  }
}

async function drain(from: AsyncIterable<Uint8Array>, to: Writable): Promise<void> {
  for await (const chunk of from)
    if (!to.write(chunk) && !to.destroyed) await new Promise<void>(resolve => whenWritable(to, resolve))
}

function whenWritable(to: Writable, resolve: () => void): void {
  const done = () => {
    to.off('drain', done)
    to.off('close', done)
    resolve()
  }
  to.on('drain', done)
  to.on('close', done)
}

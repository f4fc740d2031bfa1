/** What is behind `bulkhead rig run` and `bulkhead rig shell`: a command in L1 on streams of the caller's. */
import type { Readable, Writable } from 'node:stream'
import type { Connection } from './job.ts'
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

/** Runs `argv` in L1 with these streams and gives its exit status. An abort ends L1; its reason, a number, is then the status. */
export async function rigRun(argv: readonly string[], streams: Streams, options: RigOptions): Promise<number> {
  const run = await start(argv, 'pipes', options)
  if (typeof run === 'number') return run
  return finish(run, options.abort, [streams.stdout, streams.stderr], async () => {
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
    return await finish(run, options.abort, [streams.stdout], async () => {
      void feed(streams.stdin, bytes => run.type(bytes))
      await drain(run.terminal, streams.stdout)
    })
  } finally {
    off?.()
  }
}

/** Status of an aborted command when the abort gives none: as if SIGINT had ended it. */
const INTERRUPTED = 128 + 2
/** Status of a command whose output nobody reads, as if SIGPIPE had ended it. */
const CLOSED_OUTPUT = 128 + 13

/** The run, or the status to end with when the start was aborted. */
async function start(argv: readonly string[], connection: Connection, options: RigOptions): Promise<RigRun | number> {
  try {
    return await startProgram(argv, connection, options)
  } catch (error) {
    if (options.abort?.aborted) return abortStatus(options.abort)
    throw error
  }
}

/** The reason of an abort is the status to end with. */
function abortStatus(abort: AbortSignal | undefined): number {
  return typeof abort?.reason === 'number' ? abort.reason : INTERRUPTED
}

/** Does `work` and gives the command's status; `outputs` are where its output goes. */
async function finish(
  run: RigRun,
  abort: AbortSignal | undefined,
  outputs: readonly Writable[],
  work: () => Promise<void>,
): Promise<number> {
  const ended = Promise.withResolvers<number>()
  const onAbort = () => ended.resolve(abortStatus(abort))
  const onError = () => ended.resolve(CLOSED_OUTPUT)
  abort?.addEventListener('abort', onAbort)
  if (abort?.aborted) onAbort()
  for (const output of outputs) output.on('error', onError)
  try {
    return await Promise.race([work().then(() => run.exit), ended.promise])
  } finally {
    abort?.removeEventListener('abort', onAbort)
    // The error handlers stay: what is still under way may fail as well.
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
  for await (const chunk of from) {
    // A closed output ends the run through its 'error' event; L1 is not made to wait until then.
    if (to.destroyed || writeOrFail(to, chunk)) continue
    await new Promise<void>(resolve => whenWritable(to, resolve))
  }
}

/** Whether `to` takes more at once. Bun throws EPIPE out of write() for some pipes, where Node only has the event. */
function writeOrFail(to: Writable, chunk: Uint8Array): boolean {
  try {
    return to.write(chunk)
  } catch (error) {
    to.destroy(error as Error)
    return true
  }
}

function whenWritable(to: Writable, resolve: () => void): void {
  const done = () => {
    for (const event of ['drain', 'close', 'error']) to.off(event, done)
    resolve()
  }
  for (const event of ['drain', 'close', 'error']) to.on(event, done)
}

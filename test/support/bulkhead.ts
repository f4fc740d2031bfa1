/** The command line as its users have it: a process of its own, in places of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const CLI = new URL('../../src/cli.ts', import.meta.url).pathname
/** Names a place in the environment of every process that was started there, and of those they start. */
const MARK = 'BULKHEAD_TEST_PLACE'

/** How a process ended and what it wrote. `status` is 128 + n when signal n ended it. */
export interface CliResult {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** Standard output as it came. */
  readonly bytes: Buffer
  /** Standard error as it came. */
  readonly errorBytes: Buffer
}

export interface CliOptions {
  /** Written, and then ended; null leaves it open. Absent: ended at once. */
  readonly stdin?: string | Uint8Array | null
  /** When it is over the process is killed, and the result's promise rejects. */
  readonly timeoutMs?: number
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Words before the command line: a program that starts it. */
  readonly under?: readonly string[]
}

/** A process under way. */
export interface CliRun {
  readonly child: ChildProcess
  readonly result: Promise<CliResult>
  /** Resolves once its output holds `text` that many times, and rejects when the process ends before. */
  saw(text: string, times?: number): Promise<void>
  /** What follows `text` in its output, up to `end`, once it is there. */
  sawAfter(text: string, end: string): Promise<string>
  /** Writes to its standard input, which must have been left open. */
  type(text: string): void
}

const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 }

/** Folders for sockets, temporary files and (where asked) the cache, watched for what is left in them. */
export class Place {
  readonly root = mkdtempSync(join(tmpdir(), 'bh-'))
  readonly env: Readonly<Record<string, string>>

  /** `ownCache`: nothing that was fetched before is there, and nothing is fetched into the user's cache. */
  constructor(options: { readonly ownCache: boolean }) {
    for (const name of ['run', 'tmp', 'cache']) mkdirSync(join(this.root, name))
    this.env = {
      [MARK]: this.root,
      XDG_RUNTIME_DIR: join(this.root, 'run'),
      TMPDIR: join(this.root, 'tmp'),
      ...(options.ownCache ? { BULKHEAD_CACHE: join(this.root, 'cache') } : {}),
    }
  }

  /** Starts `bulkhead ARGS`. */
  start(args: readonly string[], options: CliOptions = {}): CliRun {
    return start(args, { ...options, env: { ...this.env, ...options.env } })
  }

  /** Runs `bulkhead ARGS` to its end. */
  bulkhead(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
    return this.start(args, options).result
  }

  /** The environment of a process that belongs to this place. */
  environment(env: CliOptions['env'] = {}): Record<string, string> {
    return environment({ ...this.env, ...env })
  }

  /** Files, sockets, folders with a name of their own, and processes that are left. */
  leftovers(): readonly string[] {
    return [...this.files(), ...this.processes()]
  }

  /** What is below the folders, but for the empty folder of instances. */
  files(): readonly string[] {
    return readdirSync(this.root, { recursive: true })
      .map(String)
      .filter(path => !['run', 'tmp', 'cache', 'run/bulkhead'].includes(path))
  }

  /** Processes of this place that run, by their program's name. */
  processes(): readonly string[] {
    return readdirSync('/proc')
      .filter(name => /^[0-9]+$/.test(name))
      .filter(pid => readProc(pid, 'environ').includes(`${MARK}=${this.root}\0`))
      .map(pid => `${readProc(pid, 'comm').trim()} ${pid}`)
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Runs `bulkhead ARGS` to its end. */
export function runBulkhead(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return start(args, options).result
}

/** The command line's program and first word, for who starts it by other means. */
export function cliCommand(args: readonly string[]): readonly string[] {
  return [process.execPath, CLI, ...args]
}

function start(args: readonly string[], options: CliOptions): CliRun {
  const { stdin = '', timeoutMs = 20_000, under = [] } = options
  const [program = '', ...words] = [...under, ...cliCommand(args)]
  const child = spawn(program, words, { env: environment(options.env ?? {}), stdio: 'pipe' })
  const output: Buffer[] = []
  const errors: Buffer[] = []
  const waiting = new Set<() => void>()
  const collect = (into: Buffer[]) => (chunk: Buffer) => {
    into.push(chunk)
    for (const look of waiting) look()
  }
  child.stdout.on('data', collect(output))
  child.stderr.on('data', collect(errors))
  // A process that does not read its input may be gone before it is written.
  child.stdin.on('error', () => {})
  if (stdin !== null) child.stdin.end(stdin)
  const text = () => `${Buffer.concat(output)}${Buffer.concat(errors)}`
  const result = new Promise<CliResult>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`bulkhead ${args.join(' ')}: not done within ${timeoutMs} ms; it wrote:\n${text()}`))
    }, timeoutMs)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      const bytes = Buffer.concat(output)
      const status = code ?? 128 + (SIGNALS[signal ?? ''] ?? 0)
      const errorBytes = Buffer.concat(errors)
      resolve({ status, stdout: bytes.toString(), stderr: errorBytes.toString(), bytes, errorBytes })
    })
  })
  const find = <T>(wanted: string, look: () => T | undefined) =>
    new Promise<T>((resolve, reject) => {
      const tryAgain = () => {
        const found = look()
        if (found === undefined) return
        waiting.delete(tryAgain)
        resolve(found)
      }
      waiting.add(tryAgain)
      tryAgain()
      const ended = ({ status }: CliResult) => reject(new Error(`ended with ${status} before "${wanted}":\n${text()}`))
      result.then(ended, reject)
    })
  const saw = (wanted: string, times = 1) =>
    find(wanted, () => (text().split(wanted).length > times ? wanted : undefined)).then(() => {})
  const sawAfter = (wanted: string, end: string) =>
    find(wanted, () => {
      const [, behind] = text().split(wanted)
      return behind?.includes(end) ? behind.slice(0, behind.indexOf(end)) : undefined
    })
  return { child, result, saw, sawAfter, type: typed => void child.stdin.write(typed) }
}

/** Ours with `changes`; a variable that is undefined there is taken away. Vitest's own are not for the program. */
function environment(changes: NonNullable<CliOptions['env']>): Record<string, string> {
  const merged = { ...process.env, ...changes }
  return Object.fromEntries(
    Object.entries(merged).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !/^(VITEST|NODE_ENV|TEST$)/.test(entry[0]),
    ),
  )
}

/** A process's file in /proc, empty when the process is gone. */
function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1')
  } catch {
    return ''
  }
}

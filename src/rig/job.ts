/** The job that L1's init receives: a fragment of shell. guests/rig/init says what it must set. */
import { randomBytes } from 'node:crypto'
import { BadInput } from '../base/errors.ts'

/** Size of a terminal, in characters. */
export interface TerminalSize {
  readonly rows: number
  readonly columns: number
}

/**
 * What the command's streams are: the virtio ports themselves, pipes that lead to them (which it can open again as
 * /dev/stderr), or a terminal.
 */
export type Connection = 'direct' | 'pipes' | TerminalSize

/** What L1 is to run and on what. */
export interface Job {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** PCI slots of the drives to bind, in order: /dev/vdb, /dev/vdc and so on. */
  readonly slots: readonly string[]
  /** Drives (/dev/vdX) with cpio archives that L1 unpacks into its root. */
  readonly archives?: readonly string[]
  /** Whether L1 brings its network up. */
  readonly network?: boolean
  /** Tags of shared folders, which L1 mounts at /folders/TAG. */
  readonly folders?: readonly string[]
  readonly connection: Connection
  readonly clockMs: number
  readonly marker: string
}

/** A marker that no output contains by accident: 128 random bits. */
export function newMarker(): string {
  return `\u0004bulkhead-end-${randomBytes(16).toString('hex')}\n`
}

/** Quotes `text` for a POSIX shell. */
export function shellQuote(text: string): string {
  if (text.includes('\0')) throw new BadInput('an argument contains a NUL byte, which no command can receive')
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** The job as shell text. */
export function jobScript(job: Job): string {
  const terminal = typeof job.connection === 'string' ? undefined : job.connection
  const exports = Object.entries(job.env).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new BadInput(`${name} is no name for an environment variable`)
    return `export ${name}=${shellQuote(value)}`
  })
  return [
    `DISKS=${shellQuote(job.slots.join(' '))}`,
    `ARCHIVES=${shellQuote((job.archives ?? []).join(' '))}`,
    `NETWORK=${job.network === true ? 1 : ''}`,
    `FOLDERS=${shellQuote((job.folders ?? []).join(' '))}`,
    `CLOCK=${Math.round(job.clockMs / 1000)}`,
    `ENTROPY=${randomBytes(32).toString('hex')}`,
    `MARK=${shellQuote(job.marker)}`,
    `MODE=${terminal ? 'terminal' : job.connection}`,
    `ROWS=${terminal?.rows ?? 0}`,
    `COLUMNS=${terminal?.columns ?? 0}`,
    ...exports,
    // exec in the subshell that runs it: the shell's own 126 and 127 come out where the command cannot start.
    `command_line() { exec ${job.command.map(shellQuote).join(' ')}; }`,
    '',
  ].join('\n')
}

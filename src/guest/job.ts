/**
 * What the hypervisor tells the default guest's init: a small cpio archive that follows the initrd, with shell fragments
 * that init reads with `.`. Protocol: guests/default/init.
 */
import { BadInput } from '../base/errors.ts'
import { CpioBuilder } from '../packages/cpio.ts'

/** What the guest is to run, and how it is connected. */
export interface Job {
  /** The command and its arguments; undefined for an interactive shell on the console. */
  readonly argv: readonly string[] | undefined
  /** The user's terminal; undefined when a command's input and output are pipes or files. */
  readonly terminal: { readonly rows: number; readonly cols: number } | undefined
  /** The terminal's type, as $TERM says. */
  readonly term?: string | undefined
  /** More environment for the command. */
  readonly env?: Readonly<Record<string, string>>
  /** Tags of the shared folders, which the guest mounts at /mnt/TAG. */
  readonly shares?: readonly string[]
  /** How the network is set up: by DHCP, or just brought up. */
  readonly network?: 'user' | 'tap'
}

/**
 * The archive to append to the default initrd (each part of an initrd starts at a multiple of 4).
 *
 * @example jobCpio({ argv: ['uname', '-a'], terminal: undefined })
 */
export function jobCpio(job: Job): Uint8Array<ArrayBuffer> {
  const cpio = new CpioBuilder().file('bulkhead/setup', setupFragment(job))
  if (job.argv !== undefined) cpio.file('bulkhead/job', jobFragment(job.argv, job))
  return cpio.build()
}

/** Sets the positional parameters to `argv`, and what init needs to connect the command. */
export function jobFragment(argv: readonly string[], job: Pick<Job, 'terminal' | 'env'>): string {
  if (argv.length === 0) throw new BadInput('No command was given: write one after --, for example `-- uname -a`.')
  const lines = [`BULKHEAD_STDIN=${job.terminal === undefined ? 'pipe' : 'tty'}`]
  for (const [name, value] of Object.entries(job.env ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new BadInput(`'${name}' cannot name an environment variable.`)
    lines.push(`export ${name}=${quote(value)}`)
  }
  lines.push(`set -- ${argv.map(quote).join(' ')}`)
  return `${lines.join('\n')}\n`
}

function setupFragment({ terminal, term, shares = [], network }: Job): string {
  const lines: string[] = []
  if (shares.length > 0) lines.push(`BULKHEAD_SHARES=${quote(shares.join(' '))}`)
  if (network !== undefined) lines.push(`BULKHEAD_NETWORK=${network}`)
  if (terminal !== undefined) lines.push(`BULKHEAD_ROWS=${terminal.rows}`, `BULKHEAD_COLS=${terminal.cols}`)
  if (terminal !== undefined && term !== undefined) lines.push(`BULKHEAD_TERM=${quote(term)}`)
  return lines.map(line => `${line}\n`).join('')
}

/** Within single quotes the shell takes every byte as it is, except the quote itself. */
function quote(word: string): string {
  if (word.includes('\0')) throw new BadInput('The command has a NUL character, which no command line can carry.')
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** `bulkhead rig shell` and `bulkhead rig run`: work on the emulated host itself. */
import { dirname } from 'node:path'
import { BadInput } from '../base/errors.ts'
import { LOG_LEVELS, Log } from '../base/log.ts'
import type { RigOptions } from '../rig/rig.ts'
import { type Options, parseArguments, parseChoice, parseMemory, parseSeconds } from './arguments.ts'
import { pathStatus } from './path-status.ts'
import { parseRigDevices } from './rig-device-option.ts'
import { ENDING_SIGNALS } from './status.ts'
import { isInteractive, rawTerminal } from './terminal.ts'

export const RIG_OPTIONS: Options = {
  mem: { short: 'm', value: 'MEM', help: 'memory for what runs there, beside its system (default 512M)' },
  guest: { help: 'bring the default guest, so that `bulkhead run` works there' },
  network: { help: 'a network behind 10.0.2.2; with --guest, also for guests' },
  file: { value: 'PATH[,rw]', help: 'a file as a block device there; $BULKHEAD_FILES lists them', multiple: true },
  device: {
    value: 'edu[+edu]|nvme=FILE[,rw]|e1000e[=ROM]',
    help: 'a PCI device for guests, at 00:10.0, 11.0 or 12.0, the next 3 on',
    multiple: true,
  },
  timeout: { value: 'S', help: 'rig run: end the command after S seconds' },
  loglevel: { value: LOG_LEVELS.join('|'), help: 'how much to tell on standard error (default warning)' },
}

const DEFAULT_MEMORY_MIB = 512
const MAX_MEMORY_MIB = 2 ** 20

/** `bulkhead rig`. */
export async function rig(words: readonly string[]): Promise<number> {
  const { values, lists, switches, positionals, rest } = parseArguments('rig', words, RIG_OPTIONS)
  const [verb, extra] = positionals
  if (verb !== 'shell' && verb !== 'run')
    throw new BadInput('rig is followed by "shell" or "run": see bulkhead help rig')
  if (extra !== undefined) throw new BadInput(`rig ${verb} does not take "${extra}": put the command behind --`)
  const memory = values['mem'] === undefined ? DEFAULT_MEMORY_MIB : parseMemory('--mem', values['mem'])
  if (memory < 1 || memory > MAX_MEMORY_MIB) throw new BadInput(`--mem must be 1M to ${MAX_MEMORY_MIB}M`)
  const abort = new AbortController()
  for (const [signal, number] of Object.entries(ENDING_SIGNALS)) process.on(signal, () => abort.abort(128 + number))
  const files = (lists['file'] ?? []).map(parseFile)
  const options: RigOptions = {
    log: new Log(parseChoice('--loglevel', values['loglevel'] ?? 'warning', LOG_LEVELS)),
    guestMemoryMiB: memory,
    files,
    network: switches.has('network'),
    devices: (lists['device'] ?? []).flatMap(parseRigDevices),
    environment: paths => ({ BULKHEAD_FILES: paths.join(' ') }),
    abort: abort.signal,
    ...(values['timeout'] === undefined ? {} : { timeoutS: parseSeconds('--timeout', values['timeout']) / 1000 }),
  }
  const session = await import('../rig/session.ts')
  const streams = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr }
  if (verb === 'run') {
    if (rest === undefined || rest.length === 0) throw new BadInput('rig run needs a command: rig run -- COMMAND...')
    return session.rigRun(rest, streams, await prepared(options, switches.has('guest')))
  }
  if (rest !== undefined) throw new BadInput('rig shell takes no command: use rig run -- COMMAND...')
  if (values['timeout'] !== undefined) throw new BadInput('--timeout goes with rig run')
  if (!isInteractive()) throw new BadInput('rig shell needs a terminal: use rig run -- COMMAND...')
  using _raw = rawTerminal()
  const { rows, columns } = process.stdout
  const onResize = (listener: (rows: number, columns: number) => void) => {
    const resized = () => listener(process.stdout.rows, process.stdout.columns)
    process.stdout.on('resize', resized)
    return () => void process.stdout.off('resize', resized)
  }
  return await session.rigShell(streams, { rows, columns, onResize }, await prepared(options, switches.has('guest')))
}

/** One value of --file. */
function parseFile(text: string): { path: string; writable: boolean } {
  const writable = text.endsWith(',rw')
  const path = writable ? text.slice(0, -',rw'.length) : text
  if (!isFile(path)) throw new BadInput(`--file ${path} is no file: write --file PATH[,rw]`)
  return { path, writable }
}

function isFile(path: string): boolean {
  const found = pathStatus(path)
  return found?.isFile() === true || found?.isBlockDevice() === true
}

/** The options; with the guest, its files are behind the caller's own, and what its network needs is there. */
async function prepared(options: RigOptions, withGuest: boolean): Promise<RigOptions> {
  if (!withGuest) return options
  const { prepareDefaultGuest } = await import('../guest/default-guest.ts')
  const { kernel, initrd, params } = await prepareDefaultGuest({ log: options.log })
  const archives = options.network === true ? [await passtArchive()] : []
  const own = options.files ?? []
  return {
    ...options,
    files: [...own, kernel, initrd],
    archives,
    environment: paths => {
      const guest = { kernel: paths[own.length], initrd: paths[own.length + 1], params }
      return { ...options.environment?.(paths.slice(0, own.length)), BULKHEAD_GUEST: JSON.stringify(guest) }
    },
  }
}

async function passtArchive(): Promise<string> {
  const { privatePasst } = await import('./programs.ts')
  const { folderArchive } = await import('../rig/archive.ts')
  return await folderArchive(dirname(await privatePasst()), 'tools/passt')
}

/** Scripts on the emulated host, with guests that they start there: for what a test must not do to the machine it runs on. */
import { shellQuote } from '../../src/rig/job.ts'
import type { CliOptions, CliRun, Place } from './bulkhead.ts'

/** The host boots or is restored, and one guest after the other boots in it. */
const LIMIT_MS = 600_000

export interface HostOptions extends CliOptions {
  /** In the form of `rig run --file`; there as $1, $2 and so on. */
  readonly files?: readonly string[]
  readonly network?: boolean
}

/** Starts a shell script on the emulated host. */
export function startOnRig(place: Place, script: string, options: HostOptions = {}): CliRun {
  const { files = [], network = false, ...rest } = options
  const words = ['rig', 'run', '--loglevel', 'error', '--guest', ...(network ? ['--network'] : [])]
  const withFiles = `set -- $BULKHEAD_FILES; ${script}`
  const all = [...words, ...files.flatMap(file => ['--file', file]), '--', 'sh', '-c', withFiles]
  return place.start(all, { timeoutMs: LIMIT_MS, ...rest })
}

/** The words, for a script on the host, that run a script in a guest. The options may use the host's variables. */
export function inGuest(options: string, script: string): string {
  return `bulkhead run --loglevel error ${options} -- sh -c ${shellQuote(script)}`
}

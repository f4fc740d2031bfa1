/** Boots of the default guest through the command line, on whatever host this is. */
import type { CliOptions, CliResult, CliRun, Place } from './bulkhead.ts'
import { runBulkhead } from './bulkhead.ts'

/**
 * A boot takes 7 s in the rig on a quiet machine, 25 s (40 with 4 vCPUs) on one whose neighbours take the memory's
 * bandwidth, and several times that on a busy one.
 */
export const BOOT_LIMIT_MS = 300_000
/** The first use on a machine fetches packages. */
export const SETUP_LIMIT_MS = 590_000

/** Fetches and makes what a first run would; takes no time when it is there. */
export async function prepareGuest(): Promise<void> {
  const { status, stderr } = await runBulkhead(['setup'], { timeoutMs: SETUP_LIMIT_MS })
  if (status !== 0) throw new Error(`bulkhead setup ended with status ${status}: ${stderr}`)
}

/** Starts a guest. Only failures come on standard error: a host that needs the rig is no news here. */
export function startGuest(place: Place, words: readonly string[], options: CliOptions = {}): CliRun {
  return place.start(['run', '--loglevel', 'error', ...words], { timeoutMs: BOOT_LIMIT_MS, ...options })
}

/** Runs a guest to its end. */
export function runGuest(place: Place, words: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startGuest(place, words, options).result
}

/** Runs a shell script in a guest. */
export function runScript(place: Place, script: string, options: CliOptions = {}): Promise<CliResult> {
  return runGuest(place, ['--', 'sh', '-c', script], options)
}

/** What a script told on lines `name: value`. */
export function factsOf(output: string): Readonly<Record<string, string>> {
  return Object.fromEntries([...output.matchAll(/^([\w.-]+): ?(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
}

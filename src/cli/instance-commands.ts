/** Commands on running instances: list, stop, pause, resume, stat. */
import { BadInput } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { isAlive, runningInstances } from '../control/instances.ts'
import type { MachineStat } from '../control/machine-control.ts'
import { type Arguments, noPositionals, type Options, parseArguments, parseSeconds } from './arguments.ts'
import { fullContainers } from './full-containers.ts'
import { duration, table } from './output.ts'

const NAMES: Options = {
  name: { short: 'n', value: 'NAME', help: 'the instance', multiple: true },
  all: { short: 'a', help: 'all instances' },
}

export const LIST_OPTIONS: Options = { json: { help: 'machine-readable output' } }
export const STAT_OPTIONS: Options = { ...NAMES, json: { help: 'machine-readable output' } }
export const PAUSE_OPTIONS: Options = NAMES
export const STOP_OPTIONS: Options = {
  ...NAMES,
  powerdown: { help: 'press the power button and wait for the guest to shut down' },
  timeout: { value: 'S', help: 'with --powerdown: end the guest after S seconds (default 10)' },
}

const DEFAULT_POWERDOWN_MS = 10_000
const POLL_MS = 20

/** `bulkhead list`: a line for each instance. */
export async function list(words: readonly string[]): Promise<number> {
  const { switches, positionals } = parseArguments('list', words, LIST_OPTIONS)
  noPositionals('list', positionals)
  const stats = await Promise.all((await runningInstances()).map(statOf))
  if (switches.has('json')) process.stdout.write(`${JSON.stringify(stats)}\n`)
  else if (stats.length > 0)
    process.stdout.write(
      table(
        ['NAME', 'PID', 'STATE', 'HOST', 'CPUS', 'MEM', 'UPTIME', 'KERNEL'],
        stats.map(s => [s.name, s.pid, s.state, s.host, s.cpus, `${s.memoryMiB}M`, duration(s.uptimeMs), s.kernel]),
      ),
    )
  return 0
}

/** `bulkhead stat`: what an instance has done. */
export async function stat(words: readonly string[]): Promise<number> {
  const parsed = parseArguments('stat', words, STAT_OPTIONS)
  const stats = await Promise.all((await namesOf('stat', parsed)).map(statOf))
  if (parsed.switches.has('json')) {
    process.stdout.write(`${JSON.stringify(stats)}\n`)
    return 0
  }
  for (const s of stats) {
    process.stdout.write(
      `${s.name}: ${s.state} for ${duration(s.uptimeMs)}, ${s.cpus} vCPU, ${s.memoryMiB} MiB, ` +
        `${Math.round(s.residentKiB / 1024)} MiB resident, pid ${s.pid}\n`,
    )
    const kinds = Object.keys(s.exits[0] ?? {})
    process.stdout.write(
      table(
        ['exits', ...kinds],
        s.exits.map((exits, index) => [`vCPU ${index}`, ...kinds.map(kind => exits[kind] ?? 0)]),
      ),
    )
    if (s.devices.length > 0)
      process.stdout.write(
        table(
          ['device', 'notifications', 'interrupts', 'counters'],
          s.devices.map(({ name, notifications, interrupts, counters }) => [
            name,
            notifications,
            interrupts,
            Object.entries(counters)
              .map(([counter, value]) => `${counter} ${value}`)
              .join(', '),
          ]),
        ),
      )
    for (const line of fullContainers(s.devices)) process.stdout.write(`${line}\n`)
  }
  return 0
}

/** `bulkhead pause`. */
export function pause(words: readonly string[]): Promise<number> {
  return askAll('pause', words)
}

/** `bulkhead resume`. */
export function resume(words: readonly string[]): Promise<number> {
  return askAll('resume', words)
}

/** `bulkhead stop`: at once, or by the power button and a time limit. */
export async function stop(words: readonly string[]): Promise<number> {
  const parsed = parseArguments('stop', words, STOP_OPTIONS)
  const names = await namesOf('stop', parsed)
  const { timeout } = parsed.values
  const limitMs = timeout === undefined ? DEFAULT_POWERDOWN_MS : parseSeconds('--timeout', timeout)
  if (timeout !== undefined && !parsed.switches.has('powerdown')) throw new BadInput('--timeout goes with --powerdown')
  await Promise.all(
    names.map(async name => {
      if (parsed.switches.has('powerdown')) {
        await askInstance(name, 'powerButton')
        if (await hasEnded(name, limitMs)) return
      }
      try {
        await askInstance(name, 'stop')
      } catch (error) {
        // It may end before its answer is out; one that never ran is bad input.
        if (error instanceof BadInput || (await isAlive(name))) throw error
      }
      await hasEnded(name, Number.POSITIVE_INFINITY)
    }),
  )
  return 0
}

async function askAll(method: 'pause' | 'resume', words: readonly string[]): Promise<number> {
  const parsed = parseArguments(method, words, PAUSE_OPTIONS)
  await Promise.all((await namesOf(method, parsed)).map(name => askInstance(name, method)))
  return 0
}

async function statOf(name: string): Promise<MachineStat> {
  return (await askInstance(name, 'stat')) as MachineStat
}

async function hasEnded(name: string, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs
  while (await isAlive(name)) {
    if (performance.now() > deadline) return false
    await Bun.sleep(POLL_MS)
  }
  return true
}

/** The instances that a command line names, as `-n NAME`, as a plain word, or with `-a`. */
async function namesOf(command: string, { lists, switches, positionals }: Arguments): Promise<readonly string[]> {
  const names = [...(lists['name'] ?? []), ...positionals]
  if (switches.has('all')) {
    if (names.length > 0) throw new BadInput(`${command} takes names or --all, not both`)
    return runningInstances()
  }
  if (names.length === 0) throw new BadInput(`${command} needs the name of an instance, or --all: see bulkhead list`)
  return names
}

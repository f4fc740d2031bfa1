/** The `balloon` command: takes memory from a running guest and gives it back. */
import { BadInput } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { type Options, parseArguments, parseMemory } from './arguments.ts'

export const BALLOON_OPTIONS: Options = {
  name: { short: 'n', value: 'NAME', help: 'the instance' },
  json: { help: 'machine-readable output' },
}

/** What the device answers. */
interface BalloonState {
  /** What it was told to take, in MiB. */
  readonly targetMiB: number
  /** What the guest has given, in MiB. */
  readonly actualMiB: number
  /** The guest's own figures, where it has sent any. */
  readonly statistics?: Readonly<Record<string, number>>
}

/** `bulkhead balloon`. */
export async function balloon(words: readonly string[]): Promise<number> {
  const { values, switches, positionals } = parseArguments('balloon', words, BALLOON_OPTIONS)
  const rest = [...positionals]
  const name = values['name'] ?? rest.shift()
  if (name === undefined || rest.length > 1)
    throw new BadInput('balloon needs the name of one instance, and a size to set one: see bulkhead help balloon')
  const params = rest[0] === undefined ? {} : { memoryMiB: parseMemory('balloon', rest[0]) }
  const state = (await askInstance(name, 'balloon', params)) as BalloonState
  if (switches.has('json')) process.stdout.write(`${JSON.stringify(state)}\n`)
  else {
    process.stdout.write(`${name}: asked for ${state.targetMiB} MiB, has ${state.actualMiB} MiB\n`)
    for (const [key, value] of Object.entries(state.statistics ?? {})) process.stdout.write(`  ${key} ${value}\n`)
  }
  return 0
}

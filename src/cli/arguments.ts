/** The command line's grammar, on node:util's parser: options with values of a kind, in one table per command. */
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { BadInput } from '../base/errors.ts'

/** An option: its short letter, the name of its value in help texts (absent: a switch), and what it does. */
export interface Option {
  readonly short?: string
  readonly value?: string
  readonly help: string
  /** May be given more than once. */
  readonly multiple?: boolean
  /** Left out of help texts. */
  readonly hidden?: boolean
}

export type Options = Readonly<Record<string, Option>>

/** Parsed words of a command line. */
export interface Arguments {
  /** Value options by name. */
  readonly values: Readonly<Record<string, string | undefined>>
  readonly lists: Readonly<Record<string, readonly string[]>>
  readonly switches: ReadonlySet<string>
  readonly positionals: readonly string[]
  /** What follows `--`; undefined when there is no `--`. */
  readonly rest: readonly string[] | undefined
}

/** Parses `words` by `options`; throws `BadInput` with one sentence about the first word that does not fit. */
export function parseArguments(command: string, words: readonly string[], options: Options): Arguments {
  const end = words.indexOf('--')
  const own = end < 0 ? words : words.slice(0, end)
  const config: NonNullable<ParseArgsConfig['options']> = {}
  for (const [name, option] of Object.entries(options)) {
    config[name] = {
      type: option.value === undefined ? 'boolean' : 'string',
      multiple: option.multiple === true,
      ...(option.short === undefined ? {} : { short: option.short }),
    }
  }
  const parsed = parse(command, own, config, options)
  const values: Record<string, string | undefined> = {}
  const lists: Record<string, readonly string[]> = {}
  const switches = new Set<string>()
  for (const [name, value] of Object.entries(parsed.values)) {
    if (typeof value === 'string') values[name] = value
    else if (Array.isArray(value)) lists[name] = value.map(String)
    else if (value === true) switches.add(name)
  }
  return { values, lists, switches, positionals: parsed.positionals, rest: end < 0 ? undefined : words.slice(end + 1) }
}

function parse(
  command: string,
  words: readonly string[],
  config: NonNullable<ParseArgsConfig['options']>,
  options: Options,
): ReturnType<typeof parseArgs> {
  // Checked before parsing, as the parser's own messages run over several sentences.
  const { tokens } = parseArgs({
    args: [...words],
    options: config,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const seen = new Set<string>()
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const option = Object.hasOwn(options, token.name) ? options[token.name] : undefined
    if (option === undefined)
      throw new BadInput(`${command} has no option ${token.rawName}: see bulkhead help ${command}`)
    if (option.value === undefined && token.value !== undefined)
      throw new BadInput(`${token.rawName} takes no value: see bulkhead help ${command}`)
    if (option.value !== undefined && (token.value === undefined || (!token.inlineValue && /^-./.test(token.value))))
      throw new BadInput(`${token.rawName} needs a value (${option.value}): see bulkhead help ${command}`)
    if (seen.has(token.name) && option.multiple !== true) throw new BadInput(`${token.rawName} is given twice`)
    seen.add(token.name)
  }
  return parseArgs({ args: [...words], options: config, strict: false, allowPositionals: true })
}

/** A whole number from `low` to `high`. */
export function parseInteger(option: string, text: string, low: number, high: number): number {
  const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= low && value <= high))
    throw new BadInput(`${option} must be a whole number from ${low} to ${high}, not "${text}"`)
  return value
}

const MIB_PER: Readonly<Record<string, number>> = { '': 1, M: 1, G: 1024, T: 1024 * 1024 }

/** A memory size in MiB: a number with M (the default), G or T. */
export function parseMemory(option: string, text: string): number {
  const match = /^([0-9]+)([MGT]?)$/i.exec(text)
  const unit = MIB_PER[match?.[2]?.toUpperCase() ?? '']
  const value = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit
  if (!Number.isSafeInteger(value))
    throw new BadInput(`${option} must be a size such as 512, 512M or 4G, not "${text}"`)
  return value
}

/** A positive number of seconds, fractions allowed; returns milliseconds. */
export function parseSeconds(option: string, text: string): number {
  const value = /^[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(value > 0 && value <= 1e7)) throw new BadInput(`${option} must be a number of seconds above 0, not "${text}"`)
  return value * 1000
}

/** One of `choices`. */
export function parseChoice<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const choice = choices.find(candidate => candidate === text)
  if (choice === undefined) throw new BadInput(`${option} must be one of ${choices.join(', ')}, not "${text}"`)
  return choice
}

/** Refuses words that no option takes. */
export function noPositionals(command: string, words: readonly string[]): void {
  if (words[0] !== undefined) throw new BadInput(`${command} does not take "${words[0]}": see bulkhead help ${command}`)
}

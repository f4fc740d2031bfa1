/** The value of `-n/--network`, in kvmtool's words: mode=user|tap|none and what belongs to it. */
import { BadInput } from '../base/errors.ts'
import { checkNetwork, type Forward, type NetworkConfig } from '../machine/device/network-config.ts'
import { parseInteger } from './arguments.ts'

/** For help texts. */
export const NETWORK_VALUE = 'mode=user|tap|none[,...]'

const OPTION = '--network'
const MODES = ['user', 'tap', 'none'] as const
/** What each mode takes, by our names. */
const KEYS = {
  user: ['mac', 'mtu', 'forward', 'passt'],
  tap: ['mac', 'mtu', 'ifname', 'queues', 'fd'],
  none: [],
} as const satisfies Record<(typeof MODES)[number], readonly string[]>
/** kvmtool's names for the same. */
const ALIASES: Readonly<Record<string, string>> = { guest_mac: 'mac', tapif: 'ifname' }

/**
 * Parses one `--network`; undefined for mode=none.
 *
 * @example parseNetwork('user,forward=2222:22') // { kind: 'network', mode: 'user', forwards: [{ host: 2222, guest: 22 }] }
 */
export function parseNetwork(text: string): NetworkConfig | undefined {
  const config = parseWords(text)
  if (config !== undefined) checkNetwork(config)
  return config
}

function parseWords(text: string): NetworkConfig | undefined {
  const words = text.split(',')
  // kvmtool has the mode anywhere; the bare word is ours, in front.
  const first = MODES.find(mode => mode === words[0])
  const pairs = (first === undefined ? words : words.slice(1)).map(parsePair)
  const mode = first ?? parseMode(text, pairs)
  const values = new Map<string, string>()
  const forwards: Forward[] = []
  for (const { key, value } of pairs) {
    if (key === 'mode' && first === undefined) continue
    if (!(KEYS[mode] as readonly string[]).includes(key))
      throw new BadInput(`${OPTION} mode=${mode} takes ${listed(KEYS[mode])}, not "${key}"`)
    if (key === 'forward') forwards.push(parseForward(value))
    else if (values.has(key)) throw new BadInput(`${OPTION} has ${key} twice`)
    else values.set(key, value)
  }
  const mac = values.get('mac')
  const mtu = integer(values, 'mtu', 68, 65_535)
  const common = {
    kind: 'network' as const,
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu }),
  }
  switch (mode) {
    case 'none':
      return undefined
    case 'user': {
      const program = values.get('passt')
      return {
        ...common,
        mode,
        ...(forwards.length === 0 ? {} : { forwards }),
        ...(program === undefined ? {} : { program }),
      }
    }
    case 'tap': {
      const interfaceName = values.get('ifname')
      const queues = integer(values, 'queues', 1, 16)
      const fds = values.get('fd')
      return {
        ...common,
        mode,
        ...(interfaceName === undefined ? {} : { interfaceName }),
        ...(queues === undefined ? {} : { queues }),
        ...(fds === undefined ? {} : { fds: fds.split(':').map(fd => parseInteger(`${OPTION} fd`, fd, 3, 65_535)) }),
      }
    }
  }
}

interface Pair {
  readonly key: string
  readonly value: string
}

function parsePair(word: string): Pair {
  const at = word.indexOf('=')
  if (at <= 0 || at === word.length - 1)
    throw new BadInput(
      `${OPTION} is ${MODES.join(', ')} or words such as mode=user,mac=02:12:34:56:78:9a, not "${word}"`,
    )
  const key = word.slice(0, at)
  return { key: ALIASES[key] ?? key, value: word.slice(at + 1) }
}

function parseMode(text: string, pairs: readonly Pair[]): (typeof MODES)[number] {
  const given = pairs.filter(({ key }) => key === 'mode')
  if (given.length !== 1) throw new BadInput(`${OPTION} needs one mode=${MODES.join('|')}, not "${text}"`)
  const mode = MODES.find(candidate => candidate === given[0]?.value)
  if (mode === undefined)
    throw new BadInput(`${OPTION} mode must be one of ${MODES.join(', ')}, not "${given[0]?.value}"`)
  return mode
}

function parseForward(value: string): Forward {
  const [host = '', guest = host, ...more] = value.split(':')
  if (more.length > 0) throw new BadInput(`${OPTION} forward must be HOSTPORT:GUESTPORT, not "${value}"`)
  return { host: port(host), guest: port(guest) }
}

function port(text: string): number {
  return parseInteger(`${OPTION} forward`, text, 1, 65_535)
}

function integer(values: ReadonlyMap<string, string>, key: string, low: number, high: number): number | undefined {
  const text = values.get(key)
  return text === undefined ? undefined : parseInteger(`${OPTION} ${key}`, text, low, high)
}

function listed(keys: readonly string[]): string {
  return keys.length === 0 ? 'nothing else' : keys.join(', ')
}

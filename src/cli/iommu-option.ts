/**
 * The value of `--iommu`: which devices are behind it, then how it is.
 *
 *   --iommu all                          --iommu disk0+net0,granule=64K,reserved=disk0:8000000-80fffff
 *   --iommu all,bypass=off,limit=4096    --iommu all,msi=translate,topology=both
 */
import { BadInput } from '../base/errors.ts'
import type { IommuConfig } from '../machine/iommu-config.ts'
import { parseChoice, parseInteger } from './arguments.ts'

/** For help texts. */
export const IOMMU_VALUE = 'all|none|NAMES[,WORD=VALUE]...'

const OPTION = '--iommu'
const SWITCHES = ['on', 'off'] as const
const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }
/** No count of anything here is larger. */
const MAX_COUNT = 2 ** 32 - 1

/** What a word with a value comes to. */
const WORDS: Readonly<Record<string, (value: string) => Partial<IommuConfig>>> = {
  granule: value => ({ granule: parseGranule(value) }),
  input: value => ({ input: parseRange('input', value, 16) }),
  domains: value => ({ domains: parseRange('domains', value, 10) }),
  bypass: value => ({ bypass: isOn('bypass', value) }),
  probe: value => ({ probeSize: value === 'off' ? 0 : parseInteger(`${OPTION} probe`, value, 1, MAX_COUNT) }),
  mmio: value => ({ mmio: isOn('mmio', value) }),
  msi: value => ({ msi: parseChoice(`${OPTION} msi`, value, ['reserve', 'translate']) }),
  reserved: value => ({ reserved: [parseReserved(value)] }),
  limit: value => {
    const limit = parseInteger(`${OPTION} limit`, value, 1, MAX_COUNT)
    return { limits: { domain: limit, total: limit } }
  },
  topology: value => ({ topology: parseChoice(`${OPTION} topology`, value, ['acpi', 'dt', 'both']) }),
}

const NAMES = ['legacy-bypass', ...Object.keys(WORDS).map(word => `${word}=`)]

/**
 * Parses one value of the option; throws `BadInput`.
 *
 * @example parseIommu('disk0+net0,bypass=off') // { endpoints: ['disk0', 'net0'], bypass: false }
 */
export function parseIommu(text: string): IommuConfig {
  const [devices = '', ...words] = text.split(',')
  const seen = new Set<string>()
  let config: IommuConfig = { endpoints: parseDevices(devices) }
  for (const word of words) {
    const name = word.split('=', 1)[0] as string
    if (seen.has(name) && name !== 'reserved') throw new BadInput(`${OPTION} has ${name} twice`)
    seen.add(name)
    const part = parseWord(word, name)
    const reserved = [...(config.reserved ?? []), ...(part.reserved ?? [])]
    config = { ...config, ...part, ...(reserved.length === 0 ? {} : { reserved }) }
  }
  return config
}

/** One option in front of the rest: `all`, `none`, or names. */
function parseDevices(text: string): IommuConfig['endpoints'] {
  if (text === 'all') return 'all'
  if (text === 'none') return []
  const names = text.split('+')
  if (!names.every(name => /^[a-z]+[0-9]+$/.test(name)))
    throw new BadInput(`${OPTION} starts with all, none, or devices such as disk0+net0, not "${text}"`)
  return names
}

function parseWord(word: string, name: string): Partial<IommuConfig> {
  if (word === 'legacy-bypass') return { legacyBypass: true }
  const parse = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined
  if (parse === undefined || !word.includes('='))
    throw new BadInput(`${OPTION} has no word "${word}": there are ${NAMES.join(', ')}`)
  return parse(word.slice(name.length + 1))
}

function isOn(name: string, value: string): boolean {
  return parseChoice(`${OPTION} ${name}`, value, SWITCHES) === 'on'
}

function parseGranule(value: string): number {
  const match = /^([0-9]+)([KMG]?)$/i.exec(value)
  const granule = match === null ? Number.NaN : Number(match[1]) * (UNITS[(match[2] ?? '').toUpperCase()] ?? 1)
  if (!Number.isSafeInteger(granule))
    throw new BadInput(`${OPTION} granule must be a size such as 4K, 64K or 2M, not "${value}"`)
  return granule
}

function parseReserved(value: string): NonNullable<IommuConfig['reserved']>[number] {
  const colon = value.indexOf(':')
  const region = parseRange('reserved', value.slice(colon + 1), 16)
  return colon < 0 ? region : { device: value.slice(0, colon), ...region }
}

/** START-END, both included: addresses are hexadecimal as people write them, ids are not. */
function parseRange(name: string, text: string, radix: 10 | 16): { readonly start: number; readonly end: number } {
  const [start = Number.NaN, end = Number.NaN, ...more] = text.split('-').map(part => parseNumber(part, radix))
  if (more.length > 0 || !Number.isSafeInteger(start) || !Number.isSafeInteger(end)) {
    const example = radix === 16 ? '8000000-80fffff (hexadecimal)' : '0-255'
    throw new BadInput(`${OPTION} ${name} must be a range such as ${example}, not "${text}"`)
  }
  return { start, end }
}

function parseNumber(text: string, radix: 10 | 16): number {
  if (/^0x[0-9a-f]+$/i.test(text)) return Number(text)
  if (radix === 16) return /^[0-9a-f]+$/i.test(text) ? Number.parseInt(text, 16) : Number.NaN
  return /^[0-9]+$/.test(text) ? Number(text) : Number.NaN
}

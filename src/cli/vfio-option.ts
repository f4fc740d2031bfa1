/**
 * `--vfio ADDRESS[,rom=off|FILE][,bind]`: a PCI device of the host for the guest. A guest in the rig is given one of the
 * emulated host's by its name (rig-device-option.ts), which is always bound for it.
 */
import { BadInput } from '../base/errors.ts'
import type { VfioConfig } from '../machine/device/vfio-config.ts'
import { deviceAddresses, type EmulatedDevice } from '../rig/emulated-devices.ts'
import { normalizeAddress } from '../vfio/host-devices.ts'
import { namesRigDevice, parseRigDevice } from './rig-device-option.ts'

export const VFIO_VALUE = 'ADDRESS[,rom=off|FILE][,bind]'

const OPTION = '--vfio'

/** A device that was asked for. */
export interface VfioRequest {
  /** Of one of the rig's: as the run in there sees it. */
  readonly config: VfioConfig
  /** The option's value. */
  readonly words: string
  /** A device of the rig. */
  readonly emulated?: EmulatedDevice
}

/** Parses all values of the option; throws `BadInput`. */
export function parseVfio(texts: readonly string[]): readonly VfioRequest[] {
  const parsed = texts.map(text => (namesRigDevice(text) ? parseEmulated(text) : { text, ...parseWords(text) }))
  // Where a device of the rig is depends on the others.
  const addresses = deviceAddresses(parsed.flatMap(({ emulated }) => (emulated === undefined ? [] : [emulated])))
  let next = 0
  const requests = parsed.map(({ text, address, emulated, ...rest }): VfioRequest => {
    if (emulated === undefined)
      return { config: { kind: 'vfio', address: normalizeAddress(address), ...rest }, words: text }
    const at = addresses[next++] as string
    const config = { kind: 'vfio', address: at, ...rest, bind: true, hostGroup: emulatedGroup(at) } as const
    return { config, words: text, emulated }
  })
  const twice = requests.find(
    ({ config }, index) => requests.findIndex(other => other.config.address === config.address) !== index,
  )
  if (twice !== undefined) throw new BadInput(`${OPTION} ${twice.config.address} is given twice`)
  return requests
}

/** The groups of the rig are its slots, by numbers that differ here; functions of one device are in one. */
function emulatedGroup(address: string): number {
  return Number.parseInt(address.slice('0000:00:'.length), 16)
}

interface Words extends Pick<VfioConfig, 'rom' | 'bind'> {
  readonly text: string
  readonly address: string
  readonly emulated?: EmulatedDevice
}

/** Behind the name there are only words of ours that the rig's inner run can be given: a ROM comes with the device. */
function parseEmulated(text: string): Words {
  const match = /,rom=off$/.exec(text)
  const name = match === null ? text : text.slice(0, -match[0].length)
  const emulated = parseRigDevice(OPTION, name, { writable: true })
  return { text, address: '', emulated, ...(match === null ? {} : { rom: 'none' as const }) }
}

function parseWords(text: string): Omit<Words, 'text'> {
  const [address = '', ...words] = text.split(',')
  if (address === '')
    throw new BadInput(`${OPTION} starts with an address such as 01:00.0, not "${text}": see bulkhead vfio status`)
  let found: Pick<VfioConfig, 'rom' | 'bind'> = {}
  const seen = new Set<string>()
  for (const word of words) {
    const name = word.split('=', 1)[0] as string
    if (seen.has(name)) throw new BadInput(`${OPTION} ${address}: ${name} is given twice`)
    seen.add(name)
    found = { ...found, ...parseWord(address, word) }
  }
  return { address, ...found }
}

function parseWord(address: string, word: string): Pick<VfioConfig, 'rom' | 'bind'> {
  if (word === 'bind') return { bind: true }
  if (word === 'rom=off') return { rom: 'none' }
  if (word.startsWith('rom=') && word !== 'rom=') return { rom: { file: word.slice('rom='.length) } }
  throw new BadInput(`${OPTION} ${address} has no option "${word}": there are rom=off, rom=FILE and bind`)
}

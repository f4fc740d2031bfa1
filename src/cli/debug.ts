/** The `debug` command: a look into a running guest, and a poke at it. */
import { BadInput } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { type Options, parseArguments, parseInteger } from './arguments.ts'
import { hexDump } from './output.ts'

export const DEBUG_OPTIONS: Options = {
  name: { short: 'n', value: 'NAME', help: 'the instance' },
  vcpu: { value: 'N', help: 'the vCPU to look at (default 0)' },
  registers: { short: 'r', help: 'show the registers (default)' },
  memory: { short: 'd', value: 'ADDR[,SIZE]', help: 'dump SIZE bytes (default 64) of guest-physical memory' },
  virtual: { help: "--memory's address is virtual, by the vCPU's page tables" },
  mmio: { value: 'ADDR[,SIZE][=VALUE]', help: 'read or write a register of a device, of SIZE bytes (default 4)' },
  nmi: { help: 'send a non-maskable interrupt' },
  sysrq: { short: 's', value: 'KEY', help: 'send a SysRq key over the serial console' },
  json: { help: 'machine-readable output' },
}

const DEFAULT_DUMP_BYTES = 64
const MAX_DUMP_BYTES = 1 << 20
const DEFAULT_REGISTER_BYTES = 4
const NUMBER = /^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i

/** An access to one, as the control protocol has it. */
interface Register {
  readonly address: string
  readonly size: number
  readonly [value: string]: unknown
}

/** `bulkhead debug`. */
export async function debug(words: readonly string[]): Promise<number> {
  const { values, switches, positionals } = parseArguments('debug', words, DEBUG_OPTIONS)
  const name = values['name'] ?? positionals[0]
  if (name === undefined || positionals.length > (values['name'] === undefined ? 1 : 0))
    throw new BadInput('debug needs the name of one instance: see bulkhead list')
  const vcpu = values['vcpu'] === undefined ? 0 : parseInteger('--vcpu', values['vcpu'], 0, 4095)
  if (switches.has('virtual') && values['memory'] === undefined) throw new BadInput('--virtual goes with --memory')
  const { memory, mmio, sysrq } = values
  const register = mmio === undefined ? undefined : parseRegister(mmio)
  if (sysrq !== undefined && !/^[0-9a-z]$/.test(sysrq))
    throw new BadInput(`--sysrq takes one of 0-9 and a-z, not "${sysrq}"`)
  const pokes = switches.has('nmi') || sysrq !== undefined
  const shows = switches.has('registers') || (memory === undefined && register === undefined && !pokes)
  const result: Record<string, unknown> = {}
  if (shows) {
    const registers = (await askInstance(name, 'registers', { vcpu })) as { text: string; values: unknown }
    result['registers'] = registers.values
    if (!switches.has('json')) process.stdout.write(`${registers.text}\n`)
  }
  if (memory !== undefined) {
    const { address, size } = parseRange(memory)
    const params = { vcpu, address, size, virtual: switches.has('virtual') }
    const { base64 } = (await askInstance(name, 'memory', params)) as { base64: string }
    const bytes = new Uint8Array(Buffer.from(base64, 'base64'))
    result['memory'] = { address, hex: Buffer.from(bytes).toString('hex') }
    if (!switches.has('json')) process.stdout.write(hexDump(bytes, BigInt(address)))
  }
  if (register !== undefined) {
    const answer = (await askInstance(name, 'mmio', register)) as { value: string } | null
    if (answer !== null) {
      result['mmio'] = { address: register.address, value: answer.value }
      if (!switches.has('json')) process.stdout.write(`${answer.value}\n`)
    }
  }
  if (switches.has('nmi')) await askInstance(name, 'nmi', { vcpu })
  if (sysrq !== undefined) await askInstance(name, 'sysrq', { key: sysrq })
  if (switches.has('json')) process.stdout.write(`${JSON.stringify(result)}\n`)
  return 0
}

function parseRange(text: string): { address: string; size: number } {
  const [address, size, ...more] = text.split(',')
  if (address === undefined || !NUMBER.test(address) || more.length > 0)
    throw new BadInput(`--memory must be an address and a size, such as 0x1000,256, not "${text}"`)
  const bytes = size === undefined ? DEFAULT_DUMP_BYTES : parseInteger("--memory's size", size, 1, MAX_DUMP_BYTES)
  return { address, size: bytes }
}

function parseRegister(text: string): Register {
  const [place = '', value, ...more] = text.split('=')
  const [address = '', size, ...words] = place.split(',')
  const isWhole = NUMBER.test(address) && (value === undefined || NUMBER.test(value))
  if (!isWhole || more.length + words.length > 0)
    throw new BadInput(`--mmio must be an address, a size and perhaps a value, such as 0xc0000000,4=1, not "${text}"`)
  const bytes = size === undefined ? DEFAULT_REGISTER_BYTES : parseInteger("--mmio's size", size, 1, 8)
  return { address, size: bytes, ...(value === undefined ? {} : { value: `0x${BigInt(value).toString(16)}` }) }
}

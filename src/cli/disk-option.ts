/** `--disk PATH[,ro][,direct][,pinned][,serial=S][,queues=N][,io=uring|threads]`, kvmtool's option with more words. */
import { BadInput } from '../base/errors.ts'
import { checkSerial, type DiskConfig, MAX_DISK_QUEUES } from '../machine/device/disk-config.ts'
import { parseChoice, parseInteger } from './arguments.ts'

export const DISK_VALUE = 'PATH[,ro][,direct][,WORD=VALUE]...'

/** Parses one value of the option; throws `BadInput`. */
export function parseDisk(text: string): DiskConfig {
  const [path = '', ...words] = text.split(',')
  if (path === '') throw new BadInput(`--disk needs a path first, not "${text}"`)
  const seen = new Set<string>()
  const parts = words.map(word => {
    const name = word.split('=', 1)[0] as string
    if (seen.has(name)) throw new BadInput(`--disk ${path}: ${name} is given twice`)
    seen.add(name)
    return parseWord(path, word, name)
  })
  return Object.assign({ kind: 'disk' as const, path }, ...parts) as DiskConfig
}

function parseWord(path: string, word: string, name: string): Partial<DiskConfig> {
  const value = word.length > name.length ? word.slice(name.length + 1) : undefined
  const option = `--disk ${path}: ${name}`
  if (value === undefined)
    switch (name) {
      case 'ro':
        return { readOnly: true }
      case 'direct':
        return { direct: true }
      case 'pinned':
        return { pinned: true }
      case 'serial':
      case 'queues':
      case 'io':
        throw new BadInput(`${option} needs a value: ${name}=VALUE`)
      default:
    }
  else
    switch (name) {
      case 'serial':
        checkSerial(path, value)
        return { serial: value }
      case 'queues':
        return { queues: parseInteger(option, value, 1, MAX_DISK_QUEUES) }
      case 'io':
        return { io: parseChoice(option, value, ['uring', 'threads']) }
      default:
    }
  throw new BadInput(
    `--disk ${path} has no option "${word}": there are ro, direct, pinned, serial=S, queues=N and io=uring|threads`,
  )
}

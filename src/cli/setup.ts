/** The `setup` command: everything that a first run would fetch, fetched now. */
import { LOG_LEVELS, Log } from '../base/log.ts'
import { prepareDefaultGuest } from '../guest/default-guest.ts'
import { kvmHost } from '../kvm/host-kind.ts'
import { prepareRig } from '../rig/prepare.ts'
import { noPositionals, type Options, parseArguments, parseChoice } from './arguments.ts'

const HOSTS = ['auto', 'kvm', 'rig'] as const

export const SETUP_OPTIONS: Options = {
  host: { value: HOSTS.join('|'), help: 'what to prepare for: auto (default) prepares the rig where it is needed' },
  loglevel: { value: LOG_LEVELS.join('|'), help: 'how much to tell on standard error (default warning)' },
}

/** `bulkhead setup`. */
export async function setup(words: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments('setup', words, SETUP_OPTIONS)
  noPositionals('setup', positionals)
  const host = parseChoice('--host', values['host'] ?? 'auto', HOSTS)
  const log = new Log(parseChoice('--loglevel', values['loglevel'] ?? 'warning', LOG_LEVELS))
  const guest = await prepareDefaultGuest({ log })
  process.stdout.write(`default guest: Linux ${guest.release}\n`)
  if (host === 'kvm' || (host === 'auto' && kvmHost().runsLinux)) return 0
  const rig = await prepareRig({ log })
  process.stdout.write(`rig: ${rig.qemu.command.at(-1)}\n`)
  return 0
}

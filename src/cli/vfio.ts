/** The `vfio` command: which PCI devices the host has, and who has them. */
import { BadInput } from '../base/errors.ts'
import { Binding } from '../vfio/binding.ts'
import { blocksGroup, groupDevices, type HostDevice, isVfioBound, pciDevice } from '../vfio/host-devices.ts'
import { type Arguments, type Options, parseArguments } from './arguments.ts'
import { showDevices } from './vfio-status.ts'

export const VFIO_OPTIONS: Options = {
  group: { help: 'bind, unbind: also the devices that are in the same IOMMU group and in the way' },
  force: {
    help: 'bind, unbind: also what is in use (a mounted disk, a network interface that is up, a running guest)',
  },
  json: { help: 'status: machine-readable output' },
}

/** Options of each form, and what it does. */
const FORMS: Readonly<
  Record<string, { readonly options: readonly string[]; readonly run: (parsed: Arguments) => number }>
> = {
  status: { options: ['json'], run: showStatus },
  bind: { options: ['group', 'force'], run: bind },
  unbind: { options: ['group', 'force'], run: unbind },
}

/** `bulkhead vfio`. */
export async function vfio(words: readonly string[]): Promise<number> {
  const parsed = parseArguments('vfio', words, VFIO_OPTIONS)
  const [verb = '', ...addresses] = parsed.positionals
  const form = Object.hasOwn(FORMS, verb) ? FORMS[verb] : undefined
  if (form === undefined)
    throw new BadInput(`vfio does one of ${Object.keys(FORMS).join(', ')}: see bulkhead help vfio`)
  for (const option of parsed.switches)
    if (!form.options.includes(option)) throw new BadInput(`vfio ${verb} has no option --${option}`)
  if (addresses.length === 0 && verb !== 'status')
    throw new BadInput(`vfio ${verb} needs the address of a device: vfio status shows them`)
  return form.run({ ...parsed, positionals: addresses })
}

function showStatus({ positionals, switches }: Arguments): number {
  process.stdout.write(showDevices(positionals, switches.has('json')))
  return 0
}

function bind({ positionals, switches }: Arguments): number {
  const named = devices(positionals)
  const wanted = switches.has('group') ? [...named, ...named.flatMap(groupMates).filter(blocksGroup)] : named
  const before = drivers(wanted)
  new Binding().bind([...before.keys()], { force: switches.has('force') })
  tell(before)
  const left = named.flatMap(groupMates).filter(blocksGroup)
  const words = [...drivers(left)].map(([address, driver]) => `${address} (${driver})`)
  if (words.length > 0)
    process.stderr.write(
      `bulkhead: the group is not whole yet, bind these as well or use --group: ${words.join(', ')}\n`,
    )
  return 0
}

function unbind({ positionals, switches }: Arguments): number {
  const named = devices(positionals)
  const wanted = switches.has('group') ? [...named, ...named.flatMap(groupMates).filter(isVfioBound)] : named
  const before = drivers(wanted)
  new Binding().unbind([...before.keys()], { force: switches.has('force') })
  tell(before)
  return 0
}

function devices(addresses: readonly string[]): readonly HostDevice[] {
  return addresses.map(address => pciDevice(address))
}

/** The devices of its group, without bridges, which stay with the host. */
function groupMates({ group }: HostDevice): readonly HostDevice[] {
  return group === undefined ? [] : groupDevices(group).filter(({ isBridge }) => !isBridge)
}

/** Drivers by address, each device once. */
function drivers(list: readonly HostDevice[]): ReadonlyMap<string, string> {
  return new Map(list.map(({ address, driver }) => [address, driver ?? 'no driver']))
}

/** A line for each device: who has it now, and who had it. */
function tell(before: ReadonlyMap<string, string>): void {
  for (const [address, old] of before) {
    const driver = pciDevice(address).driver ?? 'no driver'
    process.stdout.write(`${address}: ${driver}${driver === old ? '' : ` (was ${old})`}\n`)
  }
}

/** The options of `run` that put devices into the machine, in kvmtool's words where it has them. */
import { BadInput } from '../base/errors.ts'
import type { DiskConfig } from '../machine/device/disk-config.ts'
import type { DeviceConfig } from '../machine/device/kinds.ts'
import type { NetworkConfig } from '../machine/device/network-config.ts'
import type { ShareConfig } from '../machine/device/share-config.ts'
import { type Arguments, type Options, parseInteger } from './arguments.ts'
import { DISK_VALUE, parseDisk } from './disk-option.ts'
import { NETWORK_VALUE, parseNetwork } from './network-option.ts'
import { parseShare, SHARE_VALUE } from './share-option.ts'
import { parseVfio, VFIO_VALUE, type VfioRequest } from './vfio-option.ts'

export const DEVICE_OPTIONS: Options = {
  disk: { short: 'd', value: DISK_VALUE, help: 'a raw or sparse file, or a block device', multiple: true },
  network: {
    short: 'n',
    value: NETWORK_VALUE,
    help: 'network; user needs no privileges (default none)',
    multiple: true,
  },
  share: { value: SHARE_VALUE, help: "a directory for the guest, at /mnt/TAG in the default guest's", multiple: true },
  '9p': { value: SHARE_VALUE, help: 'the same, by its old name', multiple: true, hidden: true },
  rng: { help: 'an entropy device' },
  balloon: { help: 'a balloon, which `bulkhead balloon` sets' },
  vfio: { value: VFIO_VALUE, help: "a host's PCI device (in the rig: edu, nvme=FILE or e1000e)", multiple: true },
  'vfio-pci': { value: VFIO_VALUE, help: 'the same, by its old name', multiple: true, hidden: true },
  vsock: { value: 'CID,PATH', help: 'sockets to the guest: its context id, and a Unix socket for the host' },
}

/** Devices that the options ask for, each with its words (the rig's inner run gets them again). */
export interface DeviceRequests {
  readonly disks: readonly DiskConfig[]
  readonly networks: readonly { readonly config: NetworkConfig; readonly words: string }[]
  readonly shares: readonly ShareConfig[]
  readonly rng: boolean
  readonly balloon: boolean
  readonly vfio: readonly VfioRequest[]
  readonly vsock: { readonly cid: number; readonly path: string } | undefined
}

/** Parses the options; throws `BadInput`. */
export function parseDevices({ values, lists, switches }: Arguments): DeviceRequests {
  const shares = [...(lists['share'] ?? []), ...(lists['9p'] ?? [])].map(parseShare)
  const twice = shares.find((share, index) => shares.findIndex(({ tag }) => tag === share.tag) !== index)
  if (twice !== undefined) throw new BadInput(`two shares have the tag "${twice.tag}": write --share DIR,TAG`)
  return {
    disks: (lists['disk'] ?? []).map(parseDisk),
    networks: (lists['network'] ?? []).flatMap(words => {
      const config = parseNetwork(words)
      return config === undefined ? [] : [{ config, words }]
    }),
    shares,
    rng: switches.has('rng'),
    balloon: switches.has('balloon'),
    vfio: parseVfio([...(lists['vfio'] ?? []), ...(lists['vfio-pci'] ?? [])]),
    vsock: values['vsock'] === undefined ? undefined : parseVsock(values['vsock']),
  }
}

function parseVsock(text: string): { cid: number; path: string } {
  const comma = text.indexOf(',')
  if (comma < 0 || comma === text.length - 1)
    throw new BadInput(`--vsock must be a context id and a path, such as 3,guest.sock, not "${text}"`)
  return {
    cid: parseInteger("--vsock's context id", text.slice(0, comma), 3, 0xffff_fffe),
    path: text.slice(comma + 1),
  }
}

/** The devices as the machine takes them, in the order of their slots. */
export function requestedDevices({
  disks,
  networks,
  shares,
  rng,
  balloon,
  vfio,
  vsock,
}: DeviceRequests): readonly DeviceConfig[] {
  return [
    ...disks,
    ...networks.map(({ config }) => config),
    ...shares,
    ...(rng ? [{ kind: 'rng' } as const] : []),
    ...(balloon ? [{ kind: 'balloon' } as const] : []),
    ...vfio.map(({ config }) => config),
    ...(vsock === undefined ? [] : [{ kind: 'vsock', ...vsock } as const]),
  ]
}

/**
 * The devices of a guest that runs in the rig: what of the host's the emulated host must be given, and how its own run
 * is told of it. Disks become its drives, folders come over virtio-fs, the user-mode network is its own, and devices to
 * be passed on are emulated there.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type DiskConfig, defaultSerial } from '../machine/device/disk-config.ts'
import { serveFolder } from '../machine/device/folder-server.ts'
import type { VfioConfig } from '../machine/device/vfio-config.ts'
import { folderArchive } from '../rig/archive.ts'
import { type EmulatedDevice, haveNetworkCard } from '../rig/emulated-devices.ts'
import { FOLDER_PREFIX } from '../rig/l1.ts'
import type { SharedFolder } from '../rig/qemu.ts'
import type { DeviceRequests } from './device-options.ts'
import { findVirtiofsd, privatePasst, privateVirtiofsd } from './programs.ts'

/** What the rig needs for a guest's devices. */
export interface RigDevices extends AsyncDisposable {
  readonly files: readonly { readonly path: string; readonly writable: boolean }[]
  readonly archives: readonly string[]
  readonly folders: readonly SharedFolder[]
  readonly emulated: readonly EmulatedDevice[]
  readonly needsNetwork: boolean
  /** The options of the inner run, given the paths of `files` there. */
  words(paths: readonly string[]): readonly string[]
}

/** Prepares `devices`, which `checkDevices` has let pass. */
export async function rigDevices(devices: DeviceRequests): Promise<RigDevices> {
  const { disks, networks, shares, rng, balloon, vfio } = devices
  await using opened = new AsyncDisposableStack()
  const archives: string[] = []
  const isUser = networks.length > 0
  const emulated = vfio.map(({ emulated: device }) => device).filter(device => device !== undefined)
  if (isUser) archives.push(await folderArchive(dirname(await privatePasst()), 'tools/passt'))
  const folders: SharedFolder[] = []
  if (shares.length > 0) {
    archives.push(await folderArchive(dirname(await privateVirtiofsd()), 'tools/virtiofsd'))
    const program = await findVirtiofsd()
    const sockets = mkdtempSync(join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`))
    opened.defer(() => rmSync(sockets, { recursive: true, force: true }))
    for (const [index, share] of shares.entries()) {
      const socket = join(sockets, String(index))
      opened.use(await serveFolder({ ...share, program }, socket))
      folders.push({ tag: `folder${index}`, socket })
    }
  }
  const resources = opened.move()
  return {
    files: disks.map(({ path, readOnly = false }) => ({ path, writable: !readOnly })),
    archives,
    folders,
    emulated,
    // So that a card finds the emulated host on its network.
    needsNetwork: isUser || haveNetworkCard(emulated),
    words: paths => [
      ...disks.flatMap((disk, index) => ['--disk', diskWords(disk, paths[index] ?? '')]),
      ...networks.flatMap(({ words }) => ['--network', words]),
      ...shares.flatMap(({ tag, readOnly }, index) => [
        '--share',
        `/folders/folder${index},${tag}${readOnly === true ? ',ro' : ''}`,
      ]),
      ...(rng ? ['--rng'] : []),
      ...(balloon ? ['--balloon'] : []),
      ...vfio.flatMap(({ config }) => ['--vfio', vfioWords(config)]),
    ],
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** The option for the inner run, where the device has an address. An image of its ROM is in the emulated device. */
function vfioWords({ address, rom }: VfioConfig): string {
  return `${address},bind${rom === 'none' ? ',rom=off' : ''}`
}

/** The option for the inner run: the same disk under another path, and so with its serial number spelled out. */
function diskWords({ path, readOnly, direct, pinned, serial, queues, io }: DiskConfig, inner: string): string {
  return [
    inner,
    ...(readOnly === true ? ['ro'] : []),
    ...(direct === true ? ['direct'] : []),
    ...(pinned === true ? ['pinned'] : []),
    `serial=${serial ?? defaultSerial(path)}`,
    ...(queues === undefined ? [] : [`queues=${queues}`]),
    ...(io === undefined ? [] : [`io=${io}`]),
  ].join(',')
}

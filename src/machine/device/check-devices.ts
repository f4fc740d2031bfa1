/** What no machine can have among its devices, whatever the host. */
import { resolve } from 'node:path'
import { BadInput } from '../../base/errors.ts'
import type { DiskConfig } from './disk-config.ts'
import type { DeviceConfig } from './kinds.ts'

/** A bus has 32 slots, and the host bridge takes the first. */
export const MAX_DEVICES = 31

/** Kinds that a machine has one of: whoever asks for the console, say, must know which it is. */
const SINGLE = [
  ['console', 'virtio console'],
  ['balloon', 'balloon'],
  ['vsock', 'socket device'],
] as const satisfies readonly (readonly [DeviceConfig['kind'], string])[]

/** Throws `BadInput`; touches nothing of the host. */
export function checkDevices(devices: readonly DeviceConfig[]): void {
  if (devices.length > MAX_DEVICES)
    throw new BadInput(`a machine has at most ${MAX_DEVICES} PCI devices, not ${devices.length}: leave some out`)
  for (const [kind, name] of SINGLE)
    if (devices.filter(device => device.kind === kind).length > 1) throw new BadInput(`a machine has one ${name}`)
  const tags = devices.flatMap(device => (device.kind === 'share' ? [device.tag] : []))
  const twice = tags.find((tag, index) => tags.indexOf(tag) !== index)
  if (twice !== undefined) throw new BadInput(`two shares have the tag "${twice}": give one of them another`)
  const disks = devices.filter(device => device.kind === 'disk')
  checkDisks(disks)
  const addresses = devices.flatMap(device => (device.kind === 'vfio' ? [device.address] : []))
  const again = addresses.find((address, index) => addresses.indexOf(address) !== index)
  if (again !== undefined) throw new BadInput(`the host's device ${again} is given twice: leave one of them out`)
  const hasBalloon = devices.some(({ kind }) => kind === 'balloon')
  // The host's IOMMU leads to the pages that were there when they were mapped, whatever the guest gave back since.
  if (hasBalloon && addresses.length > 0)
    throw new BadInput("a balloon gives memory back that a host's device may write: leave out the balloon, or --vfio")
  // The ring would go on with pages that the guest no longer has.
  if (hasBalloon && disks.some(({ pinned }) => pinned === true))
    throw new BadInput('a balloon gives memory back that a pinned disk holds: leave out the balloon, or pinned')
}

/** A file under two names is found when it is locked; under one, here. */
function checkDisks(disks: readonly DiskConfig[]): void {
  const byPath = new Map<string, DiskConfig>()
  for (const disk of disks) {
    const path = resolve(disk.path)
    const other = byPath.get(path)
    if (other !== undefined && (disk.readOnly !== true || other.readOnly !== true))
      throw new BadInput(`disk ${disk.path} is given twice: a disk has one writer and then no readers`)
    byPath.set(path, disk)
  }
}

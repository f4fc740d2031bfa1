/**
 * Reset of all that is on a device's bus, for devices that have no reset of their own. VFIO does it for who holds the
 * groups of everything that it hits (linux/vfio.h, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO).
 */
import { CBuffer } from '../host/c-buffer.ts'
import { ENOSPC } from '../host/errno.ts'
import { tryIoctl } from '../host/ioctl.ts'
import type { VfioPlan } from './plan.ts'
import * as s from './structs.ts'
import * as v from './uapi.ts'

/** A device that the reset hits. */
export interface DependentDevice {
  readonly group: number
  /** As in `VfioPlan`. */
  readonly address: string
}

/** See above. */
export class BusReset {
  constructor(
    private readonly plan: VfioPlan,
    private readonly all: readonly VfioPlan[],
  ) {}

  /** False: the host has no such reset for the device, or it would hit a device that is not the guest's or another one of it. */
  reset(): boolean {
    const groups = groupsToReset(this.plan, this.all, this.dependents())
    if (groups === undefined) return false
    const { size, offset } = s.vfio_pci_hot_reset
    const argument = new CBuffer(size + 4 * groups.length)
    argument.view.setUint32(offset.argsz, argument.size, true)
    argument.view.setUint32(offset.count, groups.length, true)
    for (const [index, fd] of groups.entries()) argument.view.setInt32(size + 4 * index, fd, true)
    return tryIoctl(this.plan.deviceFd, v.VFIO_DEVICE_PCI_HOT_RESET, argument) >= 0
  }

  /** None: the host has no such reset (ENODEV), or says something unexpected. */
  private dependents(): readonly DependentDevice[] {
    const header = s.vfio_pci_hot_reset_info
    const { size } = s.vfio_pci_dependent_device
    // The first call only counts, and fails with ENOSPC.
    let count = 0
    for (let attempt = 0; attempt < 3; attempt++) {
      const info = new CBuffer(header.size + count * size)
      info.view.setUint32(header.offset.argsz, info.size, true)
      const result = tryIoctl(this.plan.deviceFd, v.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info)
      if (result >= 0) return parseDependents(info.view)
      if (result !== -ENOSPC) return []
      count = Math.min(info.view.getUint32(header.offset.count, true), 4096)
    }
    return []
  }
}

/** From struct vfio_pci_hot_reset_info. */
export function parseDependents(view: DataView): readonly DependentDevice[] {
  const header = s.vfio_pci_hot_reset_info
  const { size, offset } = s.vfio_pci_dependent_device
  const room = Math.floor((view.byteLength - header.size) / size)
  const count = Math.min(view.getUint32(header.offset.count, true), room)
  return Array.from({ length: count }, (_, index) => {
    const at = header.size + index * size
    const devfn = view.getUint8(at + offset.devfn)
    const segment = hex(view.getUint16(at + offset.segment, true), 4)
    const bus = hex(view.getUint8(at + offset.bus), 2)
    return {
      group: view.getUint32(at + offset.groupId, true),
      address: `${segment}:${bus}:${hex(devfn >>> 3, 2)}.${devfn & 7}`,
    }
  })
}

/** Descriptors of the groups that a reset of these devices takes; undefined: not all of them may be reset. */
export function groupsToReset(
  plan: VfioPlan,
  all: readonly VfioPlan[],
  dependents: readonly DependentDevice[],
): readonly number[] | undefined {
  if (dependents.length === 0) return undefined
  const hitsAnother = dependents.some(
    ({ address }) => address !== plan.address && all.some(other => other.address === address),
  )
  if (hitsAnother) return undefined
  const fds = new Map([plan, ...all].map(({ group, groupFd }) => [group, groupFd]))
  const needed = [...new Set(dependents.map(({ group }) => group))].map(group => fds.get(group))
  return needed.every(fd => fd !== undefined) ? needed : undefined
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

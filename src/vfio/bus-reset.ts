/**
 * Reset of all that is on a device's bus, for devices that have no reset of their own. VFIO does it for who holds the
 * groups of everything that it hits (linux/vfio.h, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO).
 */
import { CBuffer } from '../host/c-buffer.ts'
import { ENOSPC } from '../host/errno.ts'
import { tryIoctl } from '../host/ioctl.ts'
import type { ResetKind } from './device.ts'
import type { VfioPlan } from './plan.ts'
import * as s from './structs.ts'
import * as v from './uapi.ts'

/** A device that the reset hits. */
export interface DependentDevice {
  readonly group: number
  /** As in `VfioPlan`. */
  readonly address: string
}

/** A device of the machine. */
export interface BusMate extends Pick<VfioPlan, 'address' | 'group' | 'groupFd'> {
  /** The guest has it at present. */
  readonly isInUse: boolean
}

/** See above. */
export class BusReset {
  /** `mates` are the machine's devices as they are at the time. */
  constructor(
    private readonly plan: VfioPlan,
    private readonly mates: () => readonly BusMate[],
  ) {}

  /** `none`: the host has no such reset for the device, or it would hit one that is not the machine's, or is in use. */
  reset(): ResetKind {
    const dependents = this.dependents()
    const mates = this.mates()
    const groups = groupsToReset(this.plan, mates, dependents)
    if (groups === undefined) return 'none'
    const { size, offset } = s.vfio_pci_hot_reset
    const argument = new CBuffer(size + 4 * groups.length)
    argument.view.setUint32(offset.argsz, argument.size, true)
    argument.view.setUint32(offset.count, groups.length, true)
    for (const [index, fd] of groups.entries()) argument.view.setInt32(size + 4 * index, fd, true)
    if (tryIoctl(this.plan.deviceFd, v.VFIO_DEVICE_PCI_HOT_RESET, argument) < 0) return 'none'
    return others(this.plan, mates, dependents).length > 0 ? 'shared' : 'bus'
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
  plan: Pick<VfioPlan, 'address' | 'group' | 'groupFd'>,
  mates: readonly BusMate[],
  dependents: readonly DependentDevice[],
): readonly number[] | undefined {
  if (dependents.length === 0 || others(plan, mates, dependents).some(({ isInUse }) => isInUse)) return undefined
  const fds = new Map([plan, ...mates].map(({ group, groupFd }) => [group, groupFd]))
  const needed = [...new Set(dependents.map(({ group }) => group))].map(group => fds.get(group))
  return needed.every(fd => fd !== undefined) ? needed : undefined
}

/** Other devices of the machine among the dependents. */
function others(
  { address: own }: Pick<VfioPlan, 'address'>,
  mates: readonly BusMate[],
  dependents: readonly DependentDevice[],
): readonly BusMate[] {
  const hit = new Set(dependents.map(({ address }) => address))
  return mates.filter(({ address }) => address !== own && hit.has(address))
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

/** The groups that a machine has open on the main thread, with their containers and devices. */
import { BadInput } from '../base/errors.ts'
import { VfioGroup } from './group.ts'
import { checkGroup } from './group-check.ts'
import { normalizeAddress, pciDevice } from './host-devices.ts'
import type { VfioPlan } from './plan.ts'

/** Where the host shows its devices and VFIO its nodes; others than these are for tests. */
export interface HostFolders {
  readonly sysfs: string
  readonly vfio: string
}

const FOLDERS: HostFolders = { sysfs: '/sys', vfio: '/dev/vfio' }

/** A device as it was opened; only its ROM is still to be said. */
export type OpenedGroupDevice = Omit<VfioPlan, 'rom'>

/**
 * See above. Devices of one group share the group and its container.
 *
 * @example
 * using groups = new VfioGroups()
 * const { deviceFd, info } = groups.open('0000:00:10.0')
 */
export class VfioGroups {
  private readonly groups = new Map<number, VfioGroup>()

  constructor(private readonly folders: HostFolders = FOLDERS) {}

  /** Opens a device; `BadInput` says what to do first where it cannot be had, `HostError` what the host lacks. */
  open(address: string): OpenedGroupDevice {
    const device = pciDevice(address, this.folders.sysfs)
    const number = checkGroup(device, this.folders.sysfs)
    const present = this.groups.get(number)
    if (present?.has(device.address)) throw new BadInput(`${device.address} is passed through twice`)
    const group = present ?? VfioGroup.open(number, device.address, this.folders.vfio)
    this.groups.set(number, group)
    return {
      address: device.address,
      group: number,
      containerFd: group.containerFd,
      groupFd: group.fd,
      deviceFd: group.device(device.address),
      info: group.info,
    }
  }

  /** Gives one device back to the host; its group and container stay open, as the device thread still has their numbers. */
  release(address: string): void {
    for (const group of this.groups.values()) group.release(normalizeAddress(address))
  }

  /** In the order that the kernel wants: devices, group, container. */
  [Symbol.dispose](): void {
    for (const group of this.groups.values()) group[Symbol.dispose]()
    this.groups.clear()
  }
}

/** Whether a device's IOMMU group may be passed through, as sysfs shows it: VFIO itself says only that it may not. */
import { BadInput } from '../base/errors.ts'
import { blocksGroup, groupDevices, type HostDevice, isVfioBound } from './host-devices.ts'

/** The device's group; `BadInput` says what to do first where it cannot be passed through. */
export function checkGroup(device: HostDevice, sysfs = '/sys'): number {
  const { address, group, driver } = device
  if (group === undefined)
    throw new BadInput(
      `${address} is in no IOMMU group: the host has no IOMMU for it, or it is off (intel_iommu=on turns Intel's on)`,
    )
  if (!isVfioBound(device)) {
    const owner = driver === undefined ? 'no driver has it' : `driver ${driver} has it`
    throw new BadInput(`${address} is not bound to vfio-pci (${owner}): run "bulkhead vfio bind ${address}" first`)
  }
  const others = groupDevices(group, sysfs).filter(blocksGroup)
  if (others.length > 0) {
    const list = others.map(other => `${other.address} (${other.driver})`).join(', ')
    const addresses = others.map(other => other.address).join(' ')
    throw new BadInput(
      `${address} shares group ${group} with ${list}: these need vfio-pci as well, ` +
        `run "bulkhead vfio bind ${addresses}" first`,
    )
  }
  return group
}

/** Which of a machine's devices the host cannot tell from each other, from the configuration and sysfs alone. */
import { BadInput } from '../base/errors.ts'
import { pciDevice } from '../vfio/host-devices.ts'
import type { DeviceConfig } from './device/kinds.ts'

/** What is needed of a device. */
export type GroupedDevice = Pick<DeviceConfig, 'kind'> & { readonly address?: string; readonly hostGroup?: number }

/** The host's IOMMU group of each passed-through device; undefined for all others, and where there is no such device. */
export function hostGroups(devices: readonly GroupedDevice[], sysfs = '/sys'): readonly (number | undefined)[] {
  return devices.map(({ kind, address, hostGroup }) =>
    kind === 'vfio' && address !== undefined ? (hostGroup ?? find(address, sysfs)) : undefined,
  )
}

function find(address: string, sysfs: string): number | undefined {
  try {
    return pciDevice(address, sysfs).group
  } catch (error) {
    // Who opens the device says what is wrong with it.
    if (error instanceof BadInput) return undefined
    throw error
  }
}

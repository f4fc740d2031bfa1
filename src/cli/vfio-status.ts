/** `bulkhead vfio status`: the host's PCI devices as a table. */
import { deviceUses } from '../vfio/device-use.ts'
import { groupDevices, type HostDevice, isVfioBound, pciDevice, pciDevices } from '../vfio/host-devices.ts'
import { table } from './output.ts'
import { pciClassName } from './pci-class.ts'

/** One device as it is shown. */
export interface DeviceStatus {
  readonly address: string
  readonly group?: number
  readonly driver?: string
  readonly vendor: string
  readonly device: string
  readonly class: string
  /** The class in words. */
  readonly kind: string
  /** What else is in its group. */
  readonly groupMates: readonly string[]
  /** Whether a guest can have it as it is. */
  readonly isBound: boolean
  /** What would suffer if it were taken from the host. */
  readonly uses: readonly string[]
}

/** The devices at `addresses` (none: all), for people or as JSON; ends with a line feed. */
export function showDevices(addresses: readonly string[], json: boolean): string {
  const states = addresses.length === 0 ? devicesOfHost() : addresses.map(address => deviceStatus(pciDevice(address)))
  return json ? `${JSON.stringify(states)}\n` : deviceTable(states)
}

/** All of them. */
export function devicesOfHost(): readonly DeviceStatus[] {
  return pciDevices().map(device => deviceStatus(device))
}

/** See `DeviceStatus`. `sysfs` and `proc`: where they are mounted. */
export function deviceStatus(device: HostDevice, sysfs = '/sys', proc = '/proc'): DeviceStatus {
  const { address, group, driver, vendor } = device
  const all = group === undefined ? [] : groupDevices(group, sysfs)
  return {
    address,
    ...(group === undefined ? {} : { group }),
    ...(driver === undefined ? {} : { driver }),
    vendor: hex(vendor, 4),
    device: hex(device.device, 4),
    class: hex(device.class, 6),
    kind: pciClassName(device.class),
    groupMates: all.map(mate => mate.address).filter(mate => mate !== address),
    isBound: isVfioBound(device),
    uses: deviceUses(device, { sysfs, proc }),
  }
}

/** For people. */
export function deviceTable(devices: readonly DeviceStatus[]): string {
  const rows = devices.map(({ address, group, driver, vendor, device, kind, groupMates, uses }) => [
    address,
    group === undefined ? '-' : String(group),
    driver ?? '-',
    `${vendor}:${device}`,
    kind,
    groupMates.length === 0 ? '-' : groupMates.join(' '),
    uses.length === 0 ? '-' : uses.join(', '),
  ])
  return table(['ADDRESS', 'GROUP', 'DRIVER', 'ID', 'KIND', 'ALSO IN THE GROUP', 'IN USE'], rows)
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}

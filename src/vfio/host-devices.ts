/**
 * The host's PCI devices and IOMMU groups as sysfs shows them (Documentation/ABI/testing/sysfs-bus-pci and
 * sysfs-kernel-iommu_groups). Each function takes the folder where sysfs is mounted last.
 */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join } from 'node:path'
import { BadInput } from '../base/errors.ts'

const SYSFS = '/sys'
/** Domains have four digits or, where a host has more than 65536 (those of Intel VMD), five and more. */
const ADDRESS = /^(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i
/** PCI Code and ID Assignment 1.11 §1.7: base class and subclass of PCI-to-PCI bridges, which pass no DMA of their own. */
const CLASS_BRIDGE_PCI = 0x0604
/** Drivers besides vfio-pci that leave DMA to whoever owns the group (`driver_managed_dma` in linux/pci.h). */
const HARMLESS_DRIVERS: readonly string[] = ['pci-stub', 'pcieport']

/** A PCI device of the host. */
export interface HostDevice {
  /** With the domain, in lower case: "0000:00:10.0". */
  readonly address: string
  readonly vendor: number
  readonly device: number
  /** 24 bits: base class, subclass, programming interface. */
  readonly class: number
  /** Undefined: no driver has it. */
  readonly driver: string | undefined
  /** Its IOMMU group; undefined where the host has no IOMMU that is on. */
  readonly group: number | undefined
  readonly isBridge: boolean
  /** The only driver that may have it, if it is tied to one. */
  readonly driverOverride: string | undefined
}

/** "00:10.0" or "0000:00:10.0" as sysfs writes it; `BadInput` for what is no address. */
export function normalizeAddress(text: string): string {
  const match = ADDRESS.exec(text)
  if (match === null) throw new BadInput(`"${text}" is no PCI address: write it as 00:10.0 or 0000:00:10.0`)
  const [, domain = '0000', bus, device, fn] = match
  const digits = domain.replace(/^0+/, '').padStart(4, '0')
  return `${digits}:${bus}:${device}.${fn}`.toLowerCase()
}

/** The device at an address with or without domain; `BadInput` when there is none. */
export function pciDevice(address: string, sysfs = SYSFS): HostDevice {
  const normal = normalizeAddress(address)
  const device = readDevice(normal, sysfs)
  if (device === undefined)
    throw new BadInput(`this host has no PCI device ${normal}: bulkhead vfio status shows what it has`)
  return device
}

/** All PCI devices, by address. */
export function pciDevices(sysfs = SYSFS): readonly HostDevice[] {
  return present(names(join(sysfs, 'bus/pci/devices')), sysfs)
}

/** The PCI devices of a group, by address; none when there is no such group. */
export function groupDevices(group: number, sysfs = SYSFS): readonly HostDevice[] {
  return present(names(join(sysfs, 'kernel/iommu_groups', String(group), 'devices')), sysfs)
}

/** Numbers of the IOMMU groups, rising. */
export function iommuGroups(sysfs = SYSFS): readonly number[] {
  return names(join(sysfs, 'kernel/iommu_groups'))
    .map(Number)
    .sort((a, b) => a - b)
}

/** Whether a VFIO driver has the device: vfio-pci, or a vendor's variant of it. */
export function isVfioBound({ driver }: HostDevice): boolean {
  return driver !== undefined && /(^|[-_])vfio([-_]|$)/.test(driver)
}

/** Whether the device keeps its group from VFIO: a driver has it that may start DMA. Without a driver it does not. */
export function blocksGroup(device: HostDevice): boolean {
  return device.driver !== undefined && !isVfioBound(device) && !HARMLESS_DRIVERS.includes(device.driver)
}

function readDevice(address: string, sysfs: string): HostDevice | undefined {
  const folder = join(sysfs, 'bus/pci/devices', address)
  if (!existsSync(folder)) return undefined
  const classCode = attribute(folder, 'class')
  const override = text(folder, 'driver_override')
  const group = link(folder, 'iommu_group')
  return {
    address,
    vendor: attribute(folder, 'vendor'),
    device: attribute(folder, 'device'),
    class: classCode,
    driver: link(folder, 'driver'),
    group: group === undefined ? undefined : Number(group),
    isBridge: classCode >>> 8 === CLASS_BRIDGE_PCI,
    driverOverride: override === '' || override === '(null)' ? undefined : override,
  }
}

/** Devices that went away between the listing and the look (hot unplug) are left out, and so are other buses'. */
function present(addresses: readonly string[], sysfs: string): readonly HostDevice[] {
  return addresses
    .filter(name => ADDRESS.test(name))
    .sort()
    .map(address => readDevice(address, sysfs))
    .filter(device => device !== undefined)
}

/** A group goes with its last device, and a host without the part of the kernel has no folder for it. */
function names(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function text(folder: string, name: string): string {
  try {
    return readFileSync(join(folder, name), 'utf8').trim()
  } catch {
    return ''
  }
}

function attribute(folder: string, name: string): number {
  return Number(text(folder, name))
}

/** What a symbolic link of the device leads to; undefined without it. */
function link(folder: string, name: string): string | undefined {
  try {
    return basename(readlinkSync(join(folder, name)))
  } catch {
    return undefined
  }
}

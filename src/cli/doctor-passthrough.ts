/** What `bulkhead doctor` says of passing the host's devices to guests. */
import { constants } from 'node:fs'
import { join } from 'node:path'
import { iommuGroups } from '../vfio/host-devices.ts'
import {
  accessRefusal,
  advice,
  type Finding,
  type HostFolders,
  missing,
  namesIn,
  ok,
  openRefusal,
  textOf,
} from './doctor-finding.ts'

const MIB = 2 ** 20
/** Extended Capability Register of Intel's IOMMUs, IR (VT-d specification 4.1 §11.4.3): interrupt remapping. */
const ECAP_IR = 1n << 3n
const TYPE1 = 'module/vfio_iommu_type1/parameters'

/** The findings, in the order in which one depends on the other. `memoryLimit`: the bytes that we may lock. */
export function passthroughFindings(host: HostFolders, memoryLimit: number): readonly Finding[] {
  return [
    iommu(host),
    interruptRemapping(host),
    driver(host),
    container(host),
    ...groupFiles(host),
    lockedMemory(memoryLimit),
    mappings(host),
    kernelLog(host),
  ]
}

function iommu(host: HostFolders): Finding {
  const name = 'IOMMU'
  const groups = iommuGroups(host.sysfs).length
  const units = namesIn(join(host.sysfs, 'class/iommu'))
  if (groups > 0) return ok(name, `${units.length === 0 ? 'on' : units.join(' ')}, ${groups} groups`)
  const cpu = textOf(join(host.proc, 'cpuinfo'))
  if (/^flags\s*:.*\bhypervisor\b/m.test(cpu))
    return missing(
      name,
      'none: this host is a guest itself, and its hypervisor gives it none; the emulated host has one',
    )
  if (/GenuineIntel/.test(cpu))
    return missing(name, "off: switch VT-d on in the firmware's setup, and boot with intel_iommu=on")
  if (/AuthenticAMD/.test(cpu))
    return missing(name, "off: switch the IOMMU (AMD-Vi) on in the firmware's setup, and boot without amd_iommu=off")
  return missing(name, 'none, or the firmware does not describe it')
}

/** Without it a device can send any interrupt to the host, and VFIO refuses. */
function interruptRemapping({ sysfs, proc }: HostFolders): Finding {
  const name = 'interrupt remapping'
  const interrupts = textOf(join(proc, 'interrupts'))
  // x86: the names of remapped interrupt controllers; arm64: an ITS translates for each device anyway.
  if (/\bIR-/.test(interrupts)) return ok(name, 'on')
  if (/\bITS-/.test(interrupts)) return ok(name, "on, by the GIC's ITS")
  if (iommuGroups(sysfs).length === 0) return missing(name, 'comes with the IOMMU')
  if (textOf(join(sysfs, TYPE1, 'allow_unsafe_interrupts')) === 'Y')
    return advice(
      name,
      'off, and allow_unsafe_interrupts is set: a guest with a device can send the host any interrupt',
    )
  const units = namesIn(join(sysfs, 'class/iommu'))
  const canRemap = units.some(
    unit => (hex(textOf(join(sysfs, 'class/iommu', unit, 'intel-iommu/ecap'))) & ECAP_IR) !== 0n,
  )
  return missing(
    name,
    canRemap
      ? "off: boot without intremap=off and switch x2APIC or interrupt remapping on in the firmware's setup"
      : 'off, so VFIO refuses: where guests are trusted, modprobe vfio_iommu_type1 allow_unsafe_interrupts=1',
  )
}

function driver({ sysfs, modules }: HostFolders): Finding {
  const name = 'vfio-pci'
  if (namesIn(join(sysfs, 'bus/pci/drivers/vfio-pci')).length > 0) return ok(name, 'loaded')
  const known = ['modules.dep', 'modules.builtin'].some(file => textOf(join(modules, file)).includes('/vfio-pci.ko'))
  if (known) return advice(name, 'not loaded: bulkhead vfio bind loads it')
  return missing(name, 'this kernel has no such module: use one with CONFIG_VFIO_PCI')
}

function container({ dev }: HostFolders): Finding {
  const name = '/dev/vfio/vfio'
  const refusal = openRefusal(join(dev, 'vfio/vfio'), constants.O_RDWR)
  if (refusal === undefined) return ok(name, 'opens')
  if (refusal === 'ENOENT')
    return missing(name, 'not there: modprobe vfio_iommu_type1 (a kernel with CONFIG_VFIO_CONTAINER)')
  return missing(name, `cannot be opened (${refusal}): chmod 666 /dev/vfio/vfio`)
}

/** The groups that vfio-pci has, and whether this user may have them. */
function groupFiles({ dev }: HostFolders): readonly Finding[] {
  const folder = join(dev, 'vfio')
  return namesIn(folder)
    .filter(file => /^\d+$/.test(file))
    .map(file => {
      const name = `/dev/vfio/${file}`
      const refusal = accessRefusal(join(folder, file))
      return refusal === undefined ? ok(name, 'yours') : missing(name, `not yours (${refusal}): chown $USER ${name}`)
    })
}

function lockedMemory(bytes: number): Finding {
  const name = 'locked memory'
  if (bytes === Number.POSITIVE_INFINITY) return ok(name, 'as much as there is')
  return advice(
    name,
    `${Math.floor(bytes / MIB)} MiB, for all that devices may reach of a guest at a time: allow more with ulimit -l`,
  )
}

function mappings({ sysfs }: HostFolders): Finding {
  const limit = textOf(join(sysfs, TYPE1, 'dma_entry_limit'))
  if (limit === '') return advice('DMA mappings', 'limit known when vfio_iommu_type1 is loaded (65535 by default)')
  return ok('DMA mappings', `${limit} for each group (dma_entry_limit of vfio_iommu_type1)`)
}

function kernelLog({ dev }: HostFolders): Finding {
  const name = 'kernel log'
  const refusal = openRefusal(join(dev, 'kmsg'), constants.O_RDONLY | constants.O_NONBLOCK)
  if (refusal === undefined) return ok(name, "readable: faults of the host's IOMMU are shown beside the guest's")
  return advice(
    name,
    `not readable (${refusal}), so the host's faults are not shown: sysctl kernel.dmesg_restrict=0, or root`,
  )
}

function hex(text: string): bigint {
  return /^[0-9a-f]+$/i.test(text) ? BigInt(`0x${text}`) : 0n
}

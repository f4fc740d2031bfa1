/** What the machine's guest finds of firmware, from the configuration alone: the rig's outer process makes the same. */
import { buildFirmware, type Firmware } from '../arch/index.ts'
import type { MachineConfig } from './config.ts'
import { type IommuPlan, planIommu } from './iommu-plan.ts'
import { busCount, planPlaces } from './slots.ts'

const MIB = 2 ** 20

/** What of a configuration firmware depends on. */
export type FirmwareConfig = Pick<MachineConfig, 'cpus' | 'memoryMiB' | 'devices' | 'rootPorts' | 'pciBridge' | 'iommu'>

/** The plan of the machine's IOMMU, undefined where it has none; throws `BadInput`. */
export function iommuOf({
  iommu,
  devices = [],
  rootPorts = false,
  pciBridge = false,
}: FirmwareConfig): IommuPlan | undefined {
  return iommu && planIommu(iommu, { devices, rootPorts, pciBridge })
}

/** The tables, and the device tree if the guest is to have one; throws `BadInput`. */
export function planFirmware(config: FirmwareConfig): Firmware {
  const { cpus, memoryMiB, devices = [], rootPorts = false, pciBridge = false, iommu } = config
  const plan = iommuOf(config)
  const options = { rootPorts, pciBridge }
  const places = planPlaces(
    devices.length,
    options,
    plan?.endpointOf.map(id => id !== undefined),
  )
  return buildFirmware({
    cpus,
    memory: memoryMiB * MIB,
    buses: busCount(places, options),
    ...(plan === undefined ? {} : { iommu: { topology: plan.topology, describedBy: iommu?.topology ?? 'acpi' } }),
  })
}

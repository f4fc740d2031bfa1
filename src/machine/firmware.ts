/** What the machine's guest finds of firmware, from the configuration alone: the rig's outer process makes the same. */
import { buildFirmware, type Firmware } from '../arch/index.ts'
import type { MachineConfig } from './config.ts'
import { isExpress } from './device-names.ts'
import { hostGroups } from './host-groups.ts'
import { type IommuPlan, planIommu } from './iommu-plan.ts'
import { busCount, planPlaces } from './slots.ts'

const MIB = 2 ** 20

/** What of a configuration firmware depends on. */
export type FirmwareConfig = Pick<MachineConfig, 'cpus' | 'memoryMiB' | 'devices' | 'rootPorts' | 'pciBridge' | 'iommu'>

export interface FirmwarePlan extends Firmware {
  /** The IOMMU that it describes; undefined where the machine has none. */
  readonly iommu: IommuPlan | undefined
}

/** The tables, and the device tree if the guest is to have one; throws `BadInput`. */
export function planFirmware(config: FirmwareConfig): FirmwarePlan {
  const { cpus, memoryMiB, devices = [], rootPorts = false, pciBridge = false, iommu } = config
  const plan = iommu && planIommu(iommu, { devices, rootPorts, pciBridge })
  const options = { rootPorts, pciBridge }
  const places = planPlaces(
    devices.length,
    options,
    plan?.endpointOf.map(id => id !== undefined),
    devices.map(({ kind }) => isExpress(kind)),
    hostGroups(devices),
  )
  const firmware = buildFirmware({
    cpus,
    memory: memoryMiB * MIB,
    buses: busCount(places, options),
    ...(plan === undefined ? {} : { iommu: { topology: plan.topology, describedBy: iommu?.topology ?? 'acpi' } }),
  })
  return { ...firmware, iommu: plan }
}

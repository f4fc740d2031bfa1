/** What the guest finds of firmware: the ACPI tables, and a device tree if it is to have one. */
import { readFileSync } from 'node:fs'
import { assert } from '../../base/errors.ts'
import { projectFile } from '../../base/project.ts'
import { type Acpi, buildAcpi } from '../../boot/acpi.ts'
import { buildMcfg } from '../../boot/mcfg.ts'
import { buildViot } from '../../boot/viot.ts'
import type { IommuTopology } from '../../iommu/topology.ts'
import { deviceTree } from './device-tree.ts'
import { ACPI_TABLES_START, ECAM_BUSES, ECAM_START } from './layout.ts'

/** A machine as firmware sees it. */
export interface FirmwareInputs {
  readonly cpus: number
  /** Bytes of RAM. */
  readonly memory: number
  /** PCI buses that there are. */
  readonly buses: number
  /** Absent: there is no IOMMU. */
  readonly iommu?: { readonly topology: IommuTopology; readonly describedBy: 'acpi' | 'dt' | 'both' }
}

/** See above. */
export interface Firmware extends Acpi {
  /** For the kernel, by whatever way its boot protocol has. */
  readonly deviceTree?: Uint8Array
}

/**
 * Builds what the machine's guest gets; the DSDT is firmware/dsdt.asl, compiled. MCFG names no more buses than there
 * are: Linux reads all devices of each one through the ports, 8192 reads for 256 buses.
 */
export function buildFirmware({ cpus, memory, buses, iommu }: FirmwareInputs): Firmware {
  assert(buses >= 1 && buses <= ECAM_BUSES, `1 to ${ECAM_BUSES} PCI buses`)
  const dsdt = new Uint8Array(readFileSync(projectFile('firmware/dsdt.aml')))
  const extraTables = [buildMcfg(ECAM_START, buses)]
  // Linux 6.12 crashes over a VIOT without endpoints (viommu_probe_device), and one would say nothing.
  if (iommu !== undefined && iommu.describedBy !== 'dt' && iommu.topology.endpoints.length > 0)
    extraTables.push(buildViot(iommu.topology))
  const acpi = buildAcpi({ cpus, dsdt, at: ACPI_TABLES_START, extraTables })
  if (iommu === undefined || iommu.describedBy === 'acpi') return acpi
  return { ...acpi, deviceTree: deviceTree({ cpus, memory, topology: iommu.topology }) }
}

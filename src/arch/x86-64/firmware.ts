/** What the guest finds of firmware: the ACPI tables. */
import { readFileSync } from 'node:fs'
import { assert } from '../../base/errors.ts'
import { projectFile } from '../../base/project.ts'
import { type Acpi, buildAcpi } from '../../boot/acpi.ts'
import { buildMcfg } from '../../boot/mcfg.ts'
import { ACPI_TABLES_START, ECAM_BUSES, ECAM_START } from './layout.ts'

/**
 * Builds the tables for a machine of `cpus` vCPUs and `buses` PCI buses; the DSDT is firmware/dsdt.asl, compiled. MCFG
 * names no more buses than there are: Linux reads all devices of each one through the ports, 8192 reads for 256 buses.
 */
export function firmwareTables(cpus: number, buses: number): Acpi {
  assert(buses >= 1 && buses <= ECAM_BUSES, `1 to ${ECAM_BUSES} PCI buses`)
  const dsdt = new Uint8Array(readFileSync(projectFile('firmware/dsdt.aml')))
  return buildAcpi({ cpus, dsdt, at: ACPI_TABLES_START, extraTables: [buildMcfg(ECAM_START, buses)] })
}

/** What the guest finds of firmware: the ACPI tables. */
import { readFileSync } from 'node:fs'
import { projectFile } from '../../base/project.ts'
import { type Acpi, buildAcpi } from '../../boot/acpi.ts'
import { buildMcfg } from '../../boot/mcfg.ts'
import { ACPI_TABLES_START, ECAM_BUSES, ECAM_START } from './layout.ts'

/** Builds the tables for a machine of `cpus` vCPUs; the DSDT is firmware/dsdt.asl, compiled. */
export function firmwareTables(cpus: number): Acpi {
  const dsdt = new Uint8Array(readFileSync(projectFile('firmware/dsdt.aml')))
  return buildAcpi({ cpus, dsdt, at: ACPI_TABLES_START, extraTables: [buildMcfg(ECAM_START, ECAM_BUSES)] })
}

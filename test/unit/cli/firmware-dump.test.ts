import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dumpFirmware } from '../../../src/cli/firmware-dump.ts'
import { planFirmware } from '../../../src/machine/firmware.ts'
import { disassemble, hasIasl, NO_IASL } from '../../support/acpi-compiler.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-dump-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const MACHINE = { cpus: 2, memoryMiB: 64, devices: [{ kind: 'rng' }] } as const
const iommu = (topology: 'acpi' | 'dt' | 'both') => ({ endpoints: 'all', topology }) as const
const TABLES = ['apic.dat', 'dsdt.dat', 'facp.dat', 'facs.dat', 'mcfg.dat', 'xsdt.dat']

describe('dumpFirmware', () => {
  it('writes nothing that was not asked for', () => {
    dumpFirmware({ ...MACHINE, iommu: iommu('both') }, { deviceTree: undefined, acpi: undefined })
    expect(readdirSync(folder)).toEqual([])
  })

  it('writes the device tree that the guest gets', () => {
    const config = { ...MACHINE, iommu: iommu('dt') }
    const path = join(folder, 'guest.dtb')
    dumpFirmware(config, { deviceTree: path, acpi: undefined })
    expect(new Uint8Array(readFileSync(path))).toEqual(planFirmware(config).deviceTree)
  })

  it.each([
    { what: 'without an IOMMU', change: {}, tables: TABLES },
    { what: 'with one', change: { iommu: iommu('acpi') }, tables: [...TABLES, 'viot.dat'].sort() },
    { what: 'with one that ACPI does not describe', change: { iommu: iommu('dt') }, tables: TABLES },
  ])('writes each ACPI table under its signature, $what', ({ change, tables }) => {
    const config = { ...MACHINE, ...change }
    const acpi = join(folder, 'new', 'tables')
    dumpFirmware(config, { deviceTree: undefined, acpi })
    const written = readdirSync(acpi).sort()
    const sizes = new Map(planFirmware(config).segments.map(({ bytes }) => [bytes.length, true]))
    expect(written).toEqual(tables)
    expect(written.filter(name => !sizes.has(readFileSync(join(acpi, name)).length))).toEqual([])
  })

  it('writes what iasl reads', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    dumpFirmware(MACHINE, { deviceTree: undefined, acpi: folder })
    const complaints = TABLES.flatMap(name => disassemble(new Uint8Array(readFileSync(join(folder, name)))).complaints)
    expect(complaints).toEqual([])
  })

  it.each([
    { what: 'no IOMMU', change: {} },
    { what: 'one that ACPI describes', change: { iommu: iommu('acpi') } },
  ])('refuses to write a device tree for $what', ({ change }) => {
    expect(() => dumpFirmware({ ...MACHINE, ...change }, { deviceTree: join(folder, 'x'), acpi: undefined })).toThrow(
      '--dump-dtb: the guest gets no device tree: give it an --iommu with topology=dt or topology=both',
    )
  })

  it('refuses a file or directory that cannot be written', () => {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const config = { ...MACHINE, iommu: iommu('both') }
    expect(() => dumpFirmware(config, { deviceTree: join(file, 'x'), acpi: undefined })).toThrow(
      `--dump-dtb: cannot write ${file}/x (ENOTDIR)`,
    )
    expect(() => dumpFirmware(config, { deviceTree: undefined, acpi: file })).toThrow(
      `--dump-acpi: cannot write ${file} (EEXIST)`,
    )
  })
})

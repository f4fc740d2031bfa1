import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { pciLineGsi } from '../../src/arch/x86-64/interrupts.ts'
import { ECAM_BUSES, ECAM_START, PCI_WINDOW_32, PCI_WINDOW_64 } from '../../src/arch/x86-64/layout.ts'
import { assertTable } from '../../src/boot/acpi-table.ts'
import { compile, disassemble, hasIasl, NO_IASL } from '../support/acpi-compiler.ts'

const read = (name: string) => new Uint8Array(readFileSync(new URL(`../../firmware/${name}`, import.meta.url)))

/** Checksum, and the compiler's own version in the header, which differ between releases of iasl. */
function withoutCompilerVersion(table: Uint8Array): Uint8Array {
  return table.slice().fill(0, 9, 10).fill(0, 32, 36)
}

describe('dsdt.aml', () => {
  it('is a whole table', () => {
    const dsdt = read('dsdt.aml')
    expect(new TextDecoder().decode(dsdt.subarray(0, 4))).toBe('DSDT')
    expect(() => assertTable(dsdt)).not.toThrow()
  })

  it('is what iasl makes of dsdt.asl', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    const { status, complaints, output } = compile(read('dsdt.asl'))
    expect(complaints).toEqual([])
    expect(status).toBe(0)
    expect(withoutCompilerVersion(output)).toEqual(withoutCompilerVersion(read('dsdt.aml')))
  })

  it('names the devices, ports and interrupts of the machine', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    const { complaints, output } = disassemble(read('dsdt.aml'))
    const source = new TextDecoder().decode(output)
    const found = source.matchAll(/_HID, (?:EisaId \()?"(\w+)"|^ +(0x\w{4}), +\/\/ Range Minimum|^ +\{(\d+)\}/gm)
    const pci = ['PNP0A08', '0x0000', '0x0CF8', '0x0000', '0x0D00', 'PNP0C02']
    expect(complaints).toEqual([])
    expect(Array.from(found, match => match[1] ?? match[2] ?? match[3])).toEqual(
      pci.concat(
        ['PNP0501', '0x03F8', '4', 'PNP0501', '0x02F8', '3', 'PNP0501', '0x03E8', '10', 'PNP0501', '0x02E8', '11'],
        ['PNP0B00', '0x0070', '8', 'QEMU0001', '0x0505'],
      ),
    )
  })

  it('gives PCI the windows of the address map and reserves its configuration space', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    const source = new TextDecoder().decode(disassemble(read('dsdt.aml')).output)
    const memory = source.matchAll(/[DQ]WordMemory[\s\S]*?Granularity\s+(\w+),[\s\S]*?Maximum[\s\S]*?Offset\s+(\w+),/g)
    const fixed = source.match(/Memory32Fixed \(ReadWrite,\s+(\w+),[^\n]*\s+(\w+),/)
    expect(Array.from(memory, match => ({ start: Number(match[1]), size: Number(match[2]) }))).toEqual([
      PCI_WINDOW_32,
      PCI_WINDOW_64,
    ])
    expect(fixed?.slice(1).map(Number)).toEqual([ECAM_START, ECAM_BUSES * 2 ** 20])
  })

  it('routes every interrupt pin as the machine does', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    const constants: Readonly<Record<string, number>> = { Zero: 0, One: 1 }
    const number = (text: string | undefined) => constants[text ?? ''] ?? Number(text)
    const source = new TextDecoder().decode(disassemble(read('dsdt.aml')).output)
    const routes = Array.from(source.matchAll(/Package \(0x04\)\s+\{\s+(\w+),\s+(\w+),\s+Zero,\s+(\w+)\s+\}/g), match =>
      match.slice(1).map(number),
    )
    expect(routes).toEqual(
      Array.from({ length: 128 }, (_, i) => [(i >> 2) * 0x10000 + 0xffff, i & 3, pciLineGsi(i >> 2, (i & 3) + 1)]),
    )
  })
})

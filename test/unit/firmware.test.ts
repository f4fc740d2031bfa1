import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
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
    expect(complaints).toEqual([])
    expect(Array.from(found, match => match[1] ?? match[2] ?? match[3])).toEqual(
      ['PNP0501', '0x03F8', '4', 'PNP0501', '0x02F8', '3', 'PNP0501', '0x03E8', '10', 'PNP0501', '0x02E8', '11'].concat(
        ['PNP0B00', '0x0070', '8', 'QEMU0001', '0x0505'],
      ),
    )
  })
})

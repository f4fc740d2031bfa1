import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { buildAcpi } from '../../../src/boot/acpi.ts'
import { newTable, seal } from '../../../src/boot/acpi-table.ts'
import { buildFacs, buildFadt } from '../../../src/boot/fadt.ts'
import { buildMadt } from '../../../src/boot/madt.ts'
import { buildMcfg } from '../../../src/boot/mcfg.ts'
import { disassemble, hasIasl, NO_IASL } from '../../support/acpi-compiler.ts'

const dsdt = new Uint8Array(readFileSync(new URL('../../../firmware/dsdt.aml', import.meta.url)))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => (total + byte) & 0xff, 0)
const signature = (bytes: Uint8Array) => new TextDecoder().decode(bytes.subarray(0, 4))

/** A table's bytes from a list of [offset, width, value], all other bytes zero. */
function bytesOf(size: number, fields: readonly (readonly [number, number, number])[]): Uint8Array {
  const bytes = new Uint8Array(size)
  for (const [at, width, value] of fields)
    for (let i = 0; i < width; i++) bytes[at + i] = Math.floor(value / 2 ** (8 * i)) & 0xff
  return bytes
}

describe('buildAcpi', () => {
  const { rsdp, segments } = buildAcpi({ cpus: 2, dsdt, at: 0xe0000 })
  const at = (gpa: number) => segments.find(segment => segment.gpa === gpa)!.bytes
  const pointer = (bytes: Uint8Array, offset: number) =>
    Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(offset, true))

  it('leads from the RSDP to every table', () => {
    expect(rsdp).toBe(0xe0000)
    const xsdt = at(pointer(at(rsdp), 24))
    const [fadt, madt] = [at(pointer(xsdt, 36)), at(pointer(xsdt, 44))]
    expect([xsdt, fadt, madt].map(signature)).toEqual(['XSDT', 'FACP', 'APIC'])
    expect(xsdt.length).toBe(36 + 2 * 8)
    expect(at(pointer(fadt, 140))).toBe(dsdt)
    expect(signature(at(new DataView(fadt.buffer).getUint32(36, true)))).toBe('FACS')
  })

  it('pins the RSDP', () => {
    const expected = `${hex(new TextEncoder().encode('RSD PTR '))}##424c4b484420020000000024000000800b0e0000000000##000000`
    expect(hex(at(rsdp))).toMatch(new RegExp(`^${expected.replaceAll('##', '..')}$`))
    expect(sum(at(rsdp).subarray(0, 20))).toBe(0)
    expect(sum(at(rsdp))).toBe(0)
  })

  it('makes every table but the FACS sum to zero', () => {
    const summed = segments.filter(({ bytes }) => signature(bytes) !== 'FACS')
    expect(summed.length).toBe(5)
    expect(summed.map(({ bytes }) => sum(bytes))).toEqual([0, 0, 0, 0, 0])
  })

  it('aligns tables to 64 bytes without overlap, inside the BIOS area', () => {
    const sorted = [...segments].sort((a, b) => a.gpa - b.gpa)
    const ends = sorted.map(({ gpa, bytes }) => gpa + bytes.length)
    expect(sorted.map(({ gpa }) => gpa % 64)).toEqual(sorted.map(() => 0))
    expect(sorted.slice(1).every(({ gpa }, i) => gpa >= ends[i]!)).toBe(true)
    expect(ends.at(-1)).toBeLessThan(0x100000)
  })

  it('lists further tables in the XSDT', () => {
    const view = newTable('TEST', 1, 40)
    const extra = seal(view)
    const built = buildAcpi({ cpus: 1, dsdt, at: 0xf0000, extraTables: [extra] })
    const xsdt = built.segments.find(({ bytes }) => signature(bytes) === 'XSDT')!.bytes
    const gpa = built.segments.find(({ bytes }) => bytes === extra)!.gpa
    expect(pointer(xsdt, 36 + 16)).toBe(gpa)
  })

  it.each([
    ['an address outside the BIOS area', { at: 0xd0000 }, /BIOS area/],
    ['an unaligned address', { at: 0xe0008 }, /16-byte boundary/],
    ['tables that run over 1 MiB', { at: 0xfff00 }, /fit the BIOS area/],
    ['a damaged DSDT', { dsdt: dsdt.slice().fill(0xff, 40, 41) }, /sums to zero/],
    ['a cut DSDT', { dsdt: dsdt.slice(0, 100) }, /length it announces/],
  ])('stops on %s', (_name, change, message) => {
    expect(() => buildAcpi({ cpus: 1, dsdt, at: 0xe0000, ...change })).toThrow(message)
  })
})

describe('buildFadt', () => {
  it('pins every byte', () => {
    const body: readonly (readonly [number, number, number])[] = [
      [36, 4, 0xe0040], // FIRMWARE_CTRL
      [40, 4, 0xe0080], // DSDT
      [46, 2, 9], // SCI_INT
      [56, 4, 0x600], // PM1a_EVT_BLK
      [64, 4, 0x604], // PM1a_CNT_BLK
      [88, 1, 4], // PM1_EVT_LEN
      [89, 1, 2], // PM1_CNT_LEN
      [96, 2, 101], // P_LVL2_LAT
      [98, 2, 1001], // P_LVL3_LAT
      [109, 2, 0x0005], // IAPC_BOOT_ARCH: LEGACY_DEVICES, no 8042, VGA not present
      [112, 4, 0x465], // WBINVD, PROC_C1, SLP_BUTTON, FIX_RTC, RESET_REG_SUP
      [116, 4, 0x01000801], // RESET_REG: I/O, 8 bits, byte access
      [120, 4, 0x64],
      [128, 1, 0xfe], // RESET_VALUE
      [131, 1, 4], // minor version
      [140, 4, 0xe0080], // X_DSDT
      [148, 4, 0x02002001], // X_PM1a_EVT_BLK: I/O, 32 bits, word access
      [152, 4, 0x600],
      [172, 4, 0x02001001], // X_PM1a_CNT_BLK: I/O, 16 bits, word access
      [176, 4, 0x604],
    ]
    const fadt = buildFadt(0xe0040, 0xe0080)
    expect(hex(fadt.subarray(0, 9))).toBe('464143501401000006')
    expect(hex(fadt.subarray(10, 36))).toBe('424c4b48442042554c4b4845414401000000424c4b4801000000')
    expect(sum(fadt)).toBe(0)
    expect(hex(fadt.subarray(36))).toBe(hex(bytesOf(276, body).subarray(36)))
  })
})

describe('buildFacs', () => {
  it('pins every byte', () => {
    expect(hex(buildFacs())).toBe(`4641435340${'00'.repeat(27)}02${'00'.repeat(31)}`)
  })
})

describe('buildMcfg', () => {
  it('pins the body for 256 buses', () => {
    const mcfg = buildMcfg(0xe000_0000, 256)
    expect(signature(mcfg)).toBe('MCFG')
    expect(hex(mcfg.subarray(36))).toBe(`${'00'.repeat(8)}000000e000000000000000ff00000000`)
    expect(sum(mcfg)).toBe(0)
  })
})

describe('buildMadt', () => {
  it('pins the body for two vCPUs', () => {
    const parts = [
      '0000e0fe01000000', // local APIC address, PCAT_COMPAT
      '0008000001000000', // local APIC 0
      '0008010101000000', // local APIC 1
      '010c00000000c0fe00000000', // I/O APIC 0, interrupt base 0
      '020a0000020000000000', // IRQ 0 is interrupt 2
      '020a0009090000000d00', // IRQ 9 is level, active high
      '0406ff000001', // NMI at LINT1 of all
    ]
    const madt = buildMadt(2)
    expect(hex(madt.subarray(36))).toBe(parts.join(''))
    expect(sum(madt)).toBe(0)
  })

  it('describes vCPUs from 255 on as x2APICs, with their own NMI entry', () => {
    const text = hex(buildMadt(257).subarray(36))
    expect(text).toContain(
      '0008fefe01000000' + '09100000ff00000001000000ff000000' + '09100000000100000100000000010000' + '010c0000',
    )
    expect(text.endsWith('0406ff000001' + '0a0c0000ffffffff01000000')).toBe(true)
  })
})

describe('tables through iasl', () => {
  // iasl reads every table but a lone RSDP.
  const tables = [1, 16, 300].flatMap(cpus =>
    buildAcpi({ cpus, dsdt, at: 0xe0000, extraTables: [buildMcfg(0xe000_0000, 256)] })
      .segments.slice(1)
      .map(({ bytes }) => ({ cpus, name: signature(bytes), bytes })),
  )

  it.for(tables)('draws no complaint on the $name of $cpus vCPUs', ({ bytes }, { skip }) => {
    skip(!hasIasl(), NO_IASL)
    const { status, complaints } = disassemble(bytes)
    expect(complaints).toEqual([])
    expect(status).toBe(0)
  })

  it('draws a complaint on a damaged table', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    expect(disassemble(buildMadt(1).fill(1, 9, 10)).complaints).not.toEqual([])
  })
})

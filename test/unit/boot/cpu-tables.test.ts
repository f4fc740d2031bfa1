import { describe, expect, it } from 'vitest'
import { BOOT_CS, BOOT_DS, BOOT_TSS, GDT_SIZE, gdtSegment, pageTablesSegment } from '../../../src/boot/cpu-tables.ts'

/** Walks 4-level tables the way the MMU does, from the bytes alone. */
function translate(tables: Uint8Array, base: number, address: number): number {
  const view = new DataView(tables.buffer)
  const entry = (table: number, shift: number) =>
    Number(view.getBigUint64(table - base + (Math.floor(address / 2 ** shift) % 512) * 8, true))
  const frame = (value: number) => value - (value % 0x1000)
  const pd = entry(frame(entry(frame(entry(base, 39)), 30)), 21)
  return (pd & 0x81) === 0x81 ? frame(pd) + (address % 0x200000) : Number.NaN
}

describe('gdtSegment', () => {
  it.each([
    ['long', '00af9b000000ffff'],
    ['protected', '00cf9b000000ffff'],
  ] as const)('holds a %s mode code segment at 0x10, flat data at 0x18 and a busy TSS at 0x20', (mode, code) => {
    const { gpa, bytes } = gdtSegment(mode)
    const words = Array.from(new BigUint64Array(bytes.buffer), word => word.toString(16).padStart(16, '0'))
    expect(gpa).toBe(0x80000)
    expect([BOOT_CS, BOOT_DS, BOOT_TSS, GDT_SIZE]).toEqual([0x10, 0x18, 0x20, 48])
    const empty = '0000000000000000'
    expect(words).toEqual([empty, empty, code, '00cf93000000ffff', '00008b0000000067', empty])
  })
})

describe('pageTablesSegment', () => {
  it.each([0, 0x1234, 0x200000, 0x3fffffff, 0x40000000, 0xfee00000, 0xffffffff])('maps 0x%x to itself', address => {
    const { gpa, bytes } = pageTablesSegment()
    expect(translate(bytes, gpa, address)).toBe(address)
  })

  it('leaves everything from 4 GiB on unmapped', () => {
    const { gpa, bytes } = pageTablesSegment()
    const words = new BigUint64Array(bytes.buffer)
    expect(gpa).toBe(0x82000)
    expect(bytes.length).toBe(0x6000)
    expect(words.subarray(1, 512).every(word => word === 0n)).toBe(true)
    expect(words.subarray(512 + 4, 1024).every(word => word === 0n)).toBe(true)
  })
})

import { describe, expect, it } from 'vitest'
import { assertTable } from '../../../src/boot/acpi-table.ts'
import { buildViot } from '../../../src/boot/viot.ts'
import { disassemble, hasIasl, iaslRelease, NO_IASL } from '../../support/acpi-compiler.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
/** The first release of iasl that decodes the table. */
const VIOT_RELEASE = 20210604
const FIELDS = [
  'BDF number 248',
  ...['Endpoint start 16', 'BDF start 16', 'BDF end 16', 'Output node 48'],
  ...['Endpoint start 264', 'BDF start 264', 'BDF end 264', 'Output node 48'],
]
const ZEROS_6 = '00'.repeat(6)
const ZEROS_8 = '00'.repeat(8)
const endpoint = (id: number, base?: number) => ({
  id,
  name: `device ${id}`,
  reserved: [],
  ...(base === undefined ? {} : { base }),
})

describe('buildViot', () => {
  it('pins every byte behind the header', () => {
    const viot = buildViot({ iommu: 0xf8, endpoints: [endpoint(0x10), endpoint(0x11), endpoint(0x108)] })
    const parts = [
      ['0300', '3000', ZEROS_8], // three nodes from byte 48 on
      ['03001000', '0000', 'f800', ZEROS_8], // virtio-iommu at segment 0, 00:1f.0
      ['01001800', '10000000', '0000', '0000', '1000', '1100', '3000', ZEROS_6], // two functions
      ['01001800', '08010000', '0000', '0000', '0801', '0801', '3000', ZEROS_6], // one function
    ]
    expect(hex(viot.subarray(36))).toBe(parts.flat().join(''))
    expect(hex(viot.subarray(0, 9))).toBe('56494f547000000000')
  })

  it('has the IOMMU alone when nothing is behind it', () => {
    expect(hex(buildViot({ iommu: 0xf8, endpoints: [] }).subarray(36))).toBe(
      `01003000${ZEROS_8}030010000000f800${ZEROS_8}`,
    )
  })

  it('describes endpoints that are not on PCI by their registers', () => {
    const viot = buildViot({ iommu: 8, endpoints: [endpoint(0x10), endpoint(0x1_0000, 0x4_0900_0000)] })
    expect(hex(viot.subarray(88))).toBe(`020018000000010000000009040000003000${ZEROS_6}`)
    expect(hex(viot.subarray(36, 38))).toBe('0300')
  })

  it.each([0, 1, 31])('is a whole table with %i endpoints', count => {
    const endpoints = Array.from({ length: count }, (_, i) => endpoint(8 * i + 8))
    expect(() => assertTable(buildViot({ iommu: 0xf8, endpoints }))).not.toThrow()
  })

  it('is a table to iasl, with the fields that it names if it knows them', ({ skip }) => {
    skip(!hasIasl(), NO_IASL)
    const viot = buildViot({ iommu: 0xf8, endpoints: [endpoint(0x10), endpoint(0x108)] })
    const { status, complaints, output } = disassemble(viot)
    const fields = new TextDecoder()
      .decode(output)
      .matchAll(/(BDF number|Endpoint start|BDF start|BDF end|Output node) : (\w+)/g)
    expect(Array.from(fields, ([, name, value]) => `${name} ${Number.parseInt(value ?? '', 16)}`)).toEqual(
      iaslRelease() < VIOT_RELEASE ? [] : FIELDS,
    )
    // An iasl that does not know the VIOT reads the frame of the table only.
    expect(complaints.filter(line => !line.includes('Unknown ACPI table signature [VIOT]'))).toEqual([])
    expect(status).toBe(0)
  })
})

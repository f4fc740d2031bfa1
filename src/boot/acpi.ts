/**
 * The ACPI tables of an x86 machine, laid out in the BIOS area: RSDP, XSDT, FADT, FACS, MADT, DSDT and whatever else
 * the machine brings. ACPI 6.4 §5.2. There is no RSDT: every reader of a revision 2 RSDP takes the XSDT.
 */
import { alignUp } from '../base/bits.ts'
import { assert } from '../base/errors.ts'
import { layout } from '../base/struct.ts'
import { setU64 } from '../base/u64.ts'
import { assertTable, checksum, newTable, OEM_ID, SdtHeader, seal, setText } from './acpi-table.ts'
import { buildFacs, buildFadt } from './fadt.ts'
import { ACPI_AREA } from './low-memory.ts'
import { buildMadt } from './madt.ts'
import { endOf } from './memory-map.ts'
import type { Segment } from './plan.ts'

export interface AcpiInputs {
  readonly cpus: number
  /** A whole DSDT as iasl makes it. */
  readonly dsdt: Uint8Array
  /** gpa of the first table, in the BIOS area on a 16-byte boundary. */
  readonly at: number
  /** Further whole tables (MCFG, VIOT) for the XSDT; `newTable` and `seal` make them. */
  readonly extraTables?: readonly Uint8Array[]
}

export interface Acpi {
  /** gpa of the root pointer. */
  readonly rsdp: number
  readonly segments: readonly Segment[]
}

const Rsdp = layout('RSDP', 36, {
  signature: 8,
  checksum: 'u8',
  oemId: 6,
  revision: 'u8',
  rsdtAddress: 'u32',
  length: 'u32',
  xsdtAddress: 'u64',
  extendedChecksum: 'u8',
  reserved: 3,
})
/** The part that ACPI 1.0 knew, with a checksum of its own. */
const RSDP_V1_SIZE = 20
const XSDT_REVISION = 1
/** The FACS wants 64 bytes; the others any. */
const TABLE_ALIGNMENT = 64

/**
 * Builds all tables from `at` on.
 *
 * @example const { rsdp, segments } = buildAcpi({ cpus: 4, dsdt, at: 0xe0000 })
 */
export function buildAcpi({ cpus, dsdt, at, extraTables = [] }: AcpiInputs): Acpi {
  assert(at % 16 === 0 && at >= ACPI_AREA.start, 'the RSDP lies on a 16-byte boundary of the BIOS area')
  for (const table of [dsdt, ...extraTables]) assertTable(table)
  const segments: Segment[] = []
  let next = at + Rsdp.size
  const place = (bytes: Uint8Array): number => {
    const gpa = alignUp(next, TABLE_ALIGNMENT)
    segments.push({ gpa, bytes })
    next = gpa + bytes.length
    return gpa
  }
  const fadt = place(buildFadt(place(buildFacs()), place(dsdt)))
  const madt = place(buildMadt(cpus))
  const xsdt = place(buildXsdt([fadt, madt, ...extraTables.map(place)]))
  assert(next <= endOf(ACPI_AREA), 'the ACPI tables fit the BIOS area')
  segments.unshift({ gpa: at, bytes: buildRsdp(xsdt) })
  return { rsdp: at, segments }
}

function buildXsdt(tables: readonly number[]): Uint8Array {
  const view = newTable('XSDT', XSDT_REVISION, SdtHeader.size + tables.length * 8)
  tables.forEach((gpa, i) => {
    setU64(view, SdtHeader.size + i * 8, gpa)
  })
  return seal(view)
}

function buildRsdp(xsdt: number): Uint8Array {
  const bytes = new Uint8Array(Rsdp.size)
  const view = new DataView(bytes.buffer)
  const at = Rsdp.offset
  setText(view, at.signature, 'RSD PTR ')
  setText(view, at.oemId, OEM_ID)
  view.setUint8(at.revision, 2)
  view.setUint32(at.length, Rsdp.size, true)
  setU64(view, at.xsdtAddress, xsdt)
  view.setUint8(at.checksum, checksum(bytes.subarray(0, RSDP_V1_SIZE)))
  view.setUint8(at.extendedChecksum, checksum(bytes))
  return bytes
}

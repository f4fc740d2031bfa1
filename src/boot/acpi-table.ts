/** The frame that every ACPI table shares: header, checksum, register addresses. ACPI 6.4 §5.2.6 and §5.2.3.2. */
import { assert } from '../base/errors.ts'
import { layout } from '../base/struct.ts'
import { setU64 } from '../base/u64.ts'

export const SdtHeader = layout('System Description Table header', 36, {
  signature: 4,
  length: 'u32',
  revision: 'u8',
  checksum: 'u8',
  oemId: 6,
  oemTableId: 8,
  oemRevision: 'u32',
  creatorId: 4,
  creatorRevision: 'u32',
})

export const OEM_ID = 'BLKHD '
const OEM_TABLE_ID = 'BULKHEAD'
const CREATOR_ID = 'BLKH'

/** Generic address structure: space 1 is port I/O. */
export const GAS_SIZE = 12
const SYSTEM_IO = 1

/** A table of `size` bytes in all with a filled-in header; the caller fills the body, then calls `seal`. */
export function newTable(signature: string, revision: number, size: number): DataView {
  const view = new DataView(new ArrayBuffer(size))
  const header = SdtHeader.offset
  setText(view, header.signature, signature)
  view.setUint32(header.length, size, true)
  view.setUint8(header.revision, revision)
  setText(view, header.oemId, OEM_ID)
  setText(view, header.oemTableId, OEM_TABLE_ID)
  view.setUint32(header.oemRevision, 1, true)
  setText(view, header.creatorId, CREATOR_ID)
  view.setUint32(header.creatorRevision, 1, true)
  return view
}

/** Sets the checksum, after which the bytes are final. */
export function seal(table: DataView): Uint8Array {
  const bytes = new Uint8Array(table.buffer)
  bytes[SdtHeader.offset.checksum] = 0
  bytes[SdtHeader.offset.checksum] = checksum(bytes)
  return bytes
}

/** The value that makes the sum of `bytes` and itself zero. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0
  for (const byte of bytes) sum += byte
  return -sum & 0xff
}

/** Throws unless `table` is a whole table with a valid checksum, as an ASL compiler makes it. */
export function assertTable(table: Uint8Array): void {
  assert(table.length >= SdtHeader.size, 'an ACPI table is at least its header')
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength)
  assert(view.getUint32(SdtHeader.offset.length, true) === table.length, 'an ACPI table has the length it announces')
  assert(checksum(table) === 0, 'an ACPI table sums to zero')
}

/** ASCII without a NUL. */
export function setText(view: DataView, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) view.setUint8(at + i, text.charCodeAt(i))
}

/** A register of `bytes` bytes at `port`, accessed `accessBytes` (1, 2 or 4) at a time. */
export function setPortGas(view: DataView, at: number, port: number, bytes: number, accessBytes: 1 | 2 | 4): void {
  view.setUint8(at, SYSTEM_IO)
  view.setUint8(at + 1, bytes * 8)
  // Access sizes are 1 for a byte, 2 for a word, 3 for a double word.
  view.setUint8(at + 3, Math.log2(accessBytes) + 1)
  setU64(view, at + 4, port)
}

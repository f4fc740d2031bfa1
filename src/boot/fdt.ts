/**
 * Writes a flattened device tree: Devicetree Specification 0.4 §5. No memory reservations, no boot CPU but 0.
 */
import { alignUp } from '../base/bits.ts'
import { assert } from '../base/errors.ts'
import { layout } from '../base/struct.ts'

const FDT_MAGIC = 0xd00d_feed
const FDT_VERSION = 17
const FDT_LAST_COMP_VERSION = 16
const FDT_BEGIN_NODE = 1
const FDT_END_NODE = 2
const FDT_PROP = 3
const FDT_END = 9

/** All fields are big-endian. */
const Header = layout('fdt_header', 40, {
  magic: 'u32',
  totalsize: 'u32',
  offDtStruct: 'u32',
  offDtStrings: 'u32',
  offMemRsvmap: 'u32',
  version: 'u32',
  lastCompVersion: 'u32',
  bootCpuidPhys: 'u32',
  sizeDtStrings: 'u32',
  sizeDtStruct: 'u32',
})
/** One entry of zeros ends the memory reservation block. */
const RESERVATIONS_SIZE = 16

const TWO_32 = 0x1_0000_0000

/** `true`: a property that is there and empty. Text ends with a NUL, a list of texts with one each; numbers are cells. */
export type FdtValue = true | string | readonly string[] | readonly number[]

/** A node with its properties and children in the order in which they are written. */
export interface FdtNode {
  /** With the unit address: "memory@0". Of the root: "". */
  readonly name: string
  readonly properties: Readonly<Record<string, FdtValue>>
  readonly children?: readonly FdtNode[]
}

/** The cells of a 64-bit value. */
export function cells64(value: number): readonly [number, number] {
  return [Math.floor(value / TWO_32), value % TWO_32]
}

/**
 * The blob of a whole tree.
 *
 * @example writeFdt({ name: '', properties: { '#address-cells': [2], compatible: 'board' }, children: [memory] })
 */
export function writeFdt(root: FdtNode): Uint8Array {
  assert(root.name === '', 'the root node has no name')
  const strings = new Strings()
  const structure: number[] = []
  writeNode(structure, strings, root)
  pushCell(structure, FDT_END)

  const structureAt = Header.size + RESERVATIONS_SIZE
  const stringsAt = structureAt + structure.length
  const bytes = new Uint8Array(alignUp(stringsAt + strings.bytes.length, 8))
  const view = new DataView(bytes.buffer)
  const at = Header.offset
  view.setUint32(at.magic, FDT_MAGIC)
  view.setUint32(at.totalsize, bytes.length)
  view.setUint32(at.offDtStruct, structureAt)
  view.setUint32(at.offDtStrings, stringsAt)
  view.setUint32(at.offMemRsvmap, Header.size)
  view.setUint32(at.version, FDT_VERSION)
  view.setUint32(at.lastCompVersion, FDT_LAST_COMP_VERSION)
  view.setUint32(at.sizeDtStrings, strings.bytes.length)
  view.setUint32(at.sizeDtStruct, structure.length)
  bytes.set(structure, structureAt)
  bytes.set(strings.bytes, stringsAt)
  return bytes
}

/** Names of properties, each one once. */
class Strings {
  readonly bytes: number[] = []
  private readonly offsets = new Map<string, number>()

  offset(name: string): number {
    const known = this.offsets.get(name)
    if (known !== undefined) return known
    const offset = this.bytes.length
    this.bytes.push(...textBytes(name))
    this.offsets.set(name, offset)
    return offset
  }
}

function writeNode(structure: number[], strings: Strings, { name, properties, children = [] }: FdtNode): void {
  pushCell(structure, FDT_BEGIN_NODE)
  pushPadded(structure, textBytes(name))
  for (const [property, value] of Object.entries(properties)) {
    const bytes = valueBytes(value)
    pushCell(structure, FDT_PROP)
    pushCell(structure, bytes.length)
    pushCell(structure, strings.offset(property))
    pushPadded(structure, bytes)
  }
  for (const child of children) writeNode(structure, strings, child)
  pushCell(structure, FDT_END_NODE)
}

function valueBytes(value: FdtValue): readonly number[] {
  if (value === true) return []
  const items = typeof value === 'string' ? [value] : value
  const bytes: number[] = []
  for (const item of items)
    if (typeof item === 'string') bytes.push(...textBytes(item))
    else pushCell(bytes, item)
  return bytes
}

function textBytes(text: string): readonly number[] {
  return [...new TextEncoder().encode(text), 0]
}

function pushCell(bytes: number[], value: number): void {
  assert(Number.isInteger(value) && value >= 0 && value < TWO_32, `a cell of a device tree has 32 bits: ${value}`)
  bytes.push(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

function pushPadded(bytes: number[], more: readonly number[]): void {
  bytes.push(...more)
  while (bytes.length % 4 !== 0) bytes.push(0)
}

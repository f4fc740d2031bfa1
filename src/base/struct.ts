/**
 * Declared byte layouts: an ordered list of fields whose sizes must add up to the declared size.
 * For set-up code (ioctl arguments, boot tables); hot paths use DataView and constants.
 */
import { assert } from './errors.ts'

/** Field type: an unsigned integer, or a run of bytes (padding, arrays, nested structs). */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | number

/** A layout: where each field lies, and the size of the whole. */
export interface Layout<Name extends string> {
  readonly size: number
  readonly offset: Readonly<Record<Name, number>>
}

const WIDTHS = { u8: 1, u16: 2, u32: 4, u64: 8 } as const

/**
 * Lays out fields in order, without implicit padding.
 *
 * @example layout('kvm_irq_level', 8, { irq: 'u32', level: 'u32' }).offset.level // 4
 */
export function layout<Name extends string>(
  name: string,
  size: number,
  fields: Readonly<Record<Name, FieldType>>,
): Layout<Name> {
  const offset = {} as Record<Name, number>
  let at = 0
  for (const field in fields) {
    const type: FieldType = fields[field]
    offset[field] = at
    at += typeof type === 'number' ? type : WIDTHS[type]
  }
  assert(at === size, `${name}: fields make ${at} bytes, declared ${size}`)
  return { size, offset }
}

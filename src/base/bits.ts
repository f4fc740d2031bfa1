/** Small integer helpers shared by everything that lays out memory. */

/** Whether `value` is 1, 2, 4 and so on; up to 2^52. */
export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value))
}

/** Rounds `value` up to a multiple of `alignment` (a power of two or any positive integer, both below 2^53). */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

/** Rounds `value` down to a multiple of `alignment`. */
export function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment
}

/** Whether `value` is a multiple of `alignment`; `%` takes many times as long when a value has more than 31 bits. */
export function isAligned(value: number, alignment: number): boolean {
  return alignDown(value, alignment) === value
}

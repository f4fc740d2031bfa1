import { describe, expect, it } from 'vitest'
import { alignDown, alignUp, isAligned, isPowerOfTwo } from '../../../src/base/bits.ts'

describe('alignUp', () => {
  it.each([
    [0, 4096, 0],
    [1, 4096, 4096],
    [4096, 4096, 4096],
    [2 ** 40 + 1, 2 ** 21, 2 ** 40 + 2 ** 21],
    [13, 12, 24],
  ])('takes %d to a multiple of %d', (value, alignment, result) => {
    expect(alignUp(value, alignment)).toBe(result)
  })
})

describe('alignDown', () => {
  it.each([
    [4095, 4096, 0],
    [4096, 4096, 4096],
    [2 ** 40 + 2 ** 21 - 1, 2 ** 21, 2 ** 40],
    [13, 12, 12],
  ])('takes %d to a multiple of %d', (value, alignment, result) => {
    expect(alignDown(value, alignment)).toBe(result)
  })
})

describe('isAligned', () => {
  it.each([
    [0, 4096, true],
    [4096, 4096, true],
    [4095, 4096, false],
    [2 ** 52 - 4096, 4096, true],
    [2 ** 52 - 1, 4096, false],
    [2 ** 64, 2 ** 30, true],
    [24, 12, true],
  ])('tells whether %d is a multiple of %d', (value, alignment, result) => {
    expect(isAligned(value, alignment)).toBe(result)
  })
})

describe('isPowerOfTwo', () => {
  it.each([1, 2, 4096, 2 ** 30, 2 ** 52])('is true of %d', value => {
    expect(isPowerOfTwo(value)).toBe(true)
  })

  it.each([0, -4, 3, 4095, 2 ** 31 + 1, Number.NaN])('is false of %d', value => {
    expect(isPowerOfTwo(value)).toBe(false)
  })
})

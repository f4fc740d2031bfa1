import { describe, expect, it } from 'vitest'
import { layout } from '../../../src/base/struct.ts'

describe('layout', () => {
  it('puts fields behind each other without padding', () => {
    const { size, offset } = layout('mixed', 20, { a: 'u8', b: 'u16', pad: 5, c: 'u64', d: 'u32' })
    expect(size).toBe(20)
    expect(offset).toEqual({ a: 0, b: 1, pad: 3, c: 8, d: 16 })
  })

  it.each([
    ['too small', 11],
    ['too large', 13],
  ])('refuses a declared size that is %s', (_, size) => {
    expect(() => layout('wrong', size, { a: 'u64', b: 'u32' })).toThrow(`wrong: fields make 12 bytes, declared ${size}`)
  })
})

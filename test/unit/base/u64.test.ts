import { describe, expect, it } from 'vitest'
import { getU64, setU64 } from '../../../src/base/u64.ts'

const view = () => new DataView(new ArrayBuffer(16))

describe('getU64', () => {
  it.each([0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1])('reads back %d as it was set', value => {
    const memory = view()
    setU64(memory, 8, value)
    expect(getU64(memory, 8)).toBe(value)
    expect(memory.getBigUint64(8, true)).toBe(BigInt(value))
    expect(memory.getBigUint64(0, true)).toBe(0n)
  })

  it.each([2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n])('never reads %d as less than 2^53', value => {
    const memory = view()
    memory.setBigUint64(0, value, true)
    expect(getU64(memory, 0)).toBeGreaterThanOrEqual(2 ** 53)
  })
})

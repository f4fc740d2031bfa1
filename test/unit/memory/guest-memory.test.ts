import { describe, expect, it } from 'vitest'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'

/** RAM at 0-99 in two windows and at 200-249; byte at address n is n. */
function memory(): GuestMemory {
  const window = (start: number, size: number) => ({ start, bytes: new Uint8Array(size).map((_, i) => start + i) })
  return new GuestMemory([window(200, 50), window(64, 36), window(0, 64)])
}

describe('GuestMemory', () => {
  it.each([
    ['inside a window', 10, 20],
    ['across two windows', 60, 10],
    ['of a whole run of windows', 0, 100],
    ['at the end of RAM', 249, 1],
    ['of nothing', 64, 0],
  ])('reads a range %s', (_, start, size) => {
    expect(memory().contains(start, size)).toBe(true)
    expect([...memory().read(start, size)!]).toEqual(Array.from({ length: size }, (_, i) => start + i))
  })

  it.each([
    ['that ends one byte behind RAM', 240, 11],
    ['that runs into a hole', 90, 11],
    ['that starts in a hole', 199, 2],
    ['that spans a hole', 90, 120],
    ['that is nowhere', 2 ** 40, 1],
    ['below zero', -1, 2],
    ['of an absurd size', 0, 2 ** 53],
    ['of a negative size', 10, -1],
    ['at no address', Number.NaN, 1],
  ])('refuses a range %s', (_, start, size) => {
    expect(memory().contains(start, size)).toBe(false)
    expect(memory().read(start, size)).toBeUndefined()
  })

  it('writes a range across two windows', () => {
    const target = memory()
    expect(target.write(62, new Uint8Array([1, 2, 3, 4]))).toBe(true)
    expect([...target.read(61, 6)!]).toEqual([61, 1, 2, 3, 4, 66])
  })

  it('writes nothing at all when a part of the range is not RAM', () => {
    const target = memory()
    expect(target.write(98, new Uint8Array([1, 2, 3]))).toBe(false)
    expect([...target.read(98, 2)!]).toEqual([98, 99])
  })

  it('gives copies that later writes do not change', () => {
    const target = memory()
    const copy = target.read(0, 4)!
    target.write(0, new Uint8Array([9]))
    expect([...copy]).toEqual([0, 1, 2, 3])
  })

  it('refuses windows that overlap', () => {
    const windows = [
      { start: 0, bytes: new Uint8Array(11) },
      { start: 10, bytes: new Uint8Array(10) },
    ]
    expect(() => new GuestMemory(windows)).toThrow('memory windows do not overlap')
  })
})

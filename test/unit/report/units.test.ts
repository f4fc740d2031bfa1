import { describe, expect, it } from 'vitest'
import { formatBytes, formatCount, formatRights, formatTime, plural } from '../../../src/report/units.ts'

describe('formatTime', () => {
  it.each([
    [0, '0 s'],
    [0.000_123, '123 ns'],
    [0.0005, '500 ns'],
    [0.0123, '12.3 us'],
    [0.1, '100 us'],
    [1.234, '1.23 ms'],
    [999.4, '999 ms'],
    [1000, '1 s'],
    [61_000, '61 s'],
    [180_000, '3 min'],
    [3 * 3_600_000, '3 h'],
  ])('says %d ms as %s', (ms, text) => expect(formatTime(ms)).toBe(text))
})

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [512, '512 B'],
    [4096, '4 KiB'],
    [5000, '4.88 KiB'],
    [2 ** 21, '2 MiB'],
    [2 ** 48, '256 TiB'],
    [1023.5 * 1024, '1024 KiB'],
    [100 * 1024, '100 KiB'],
  ])('says %d as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))
})

describe('formatCount', () => {
  it.each([
    [0, '0'],
    [999, '999'],
    [1000, '1 000'],
    [1_234_567, '1 234 567'],
  ])('says %d as %s', (count, text) => expect(formatCount(count)).toBe(text))
})

describe('formatRights', () => {
  it.each([
    [0, '--'],
    [1, 'r-'],
    [2, '-w'],
    [3, 'rw'],
    [7, 'rwm'],
  ])('says %d as %s', (flags, text) => expect(formatRights(flags)).toBe(text))
})

describe('plural', () => {
  it('leaves one as it is', () => {
    expect([plural(1, 'fault'), plural(2, 'fault'), plural(0, 'breach', 'breaches')]).toEqual([
      '1 fault',
      '2 faults',
      '0 breaches',
    ])
  })
})

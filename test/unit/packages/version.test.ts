import { describe, expect, it } from 'vitest'
import { compareVersions } from '../../../src/packages/version.ts'

describe('compareVersions', () => {
  it.each([
    ['1.0', '1.1'],
    ['6.12.9-1', '6.12.48-1'],
    ['6.12.100-1~deb12u1', '6.12.107-1'],
    ['1.0~rc1', '1.0'],
    ['1.0~~', '1.0~'],
    ['1.0', '1.0+b1'],
    ['1.0', '1.0a'],
    ['1.0a', '1.0+'],
    ['9.9', '1:0.1'],
    ['1.0-1', '1.0-1+deb12u1'],
    ['1.0-9', '1.0-10'],
    ['1-2-1', '1-2-2'],
    ['7.2+dfsg-7+deb12u18', '7.2+dfsg-7+deb12u18+b3'],
  ])('puts %s before %s', (older, newer) => {
    expect(compareVersions(older, newer)).toBeLessThan(0)
    expect(compareVersions(newer, older)).toBeGreaterThan(0)
  })

  it.each([
    ['1.0', '1.0'],
    ['0:1.0', '1.0'],
    ['1.00', '1.0'],
    ['1.0-0', '1.0'],
  ])('takes %s for the same as %s', (left, right) => {
    expect(compareVersions(left, right)).toBe(0)
  })
})

import { describe, expect, it } from 'vitest'
import { l1Memory } from '../../../src/rig/rig.ts'

describe('l1Memory', () => {
  it.each([
    [0, 1536],
    [512, 1536],
    [836, 1536],
    [837, 3072],
    [2048, 3072],
    [6144, 8192],
    [7493, 16384],
  ])('gives a guest of %i MiB a machine of %i MiB', (guest, machine) => {
    expect(l1Memory(guest)).toBe(machine)
  })
})

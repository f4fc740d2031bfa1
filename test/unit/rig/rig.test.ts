import { describe, expect, it } from 'vitest'
import { l1Cpus, l1Memory } from '../../../src/rig/rig.ts'

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

describe('l1Cpus', () => {
  it.each([
    [1, 1],
    [2, 2],
    [4, 2],
    [16, 2],
  ])('gives a guest of %i vCPUs a machine of %i CPUs', (guest, machine) => {
    expect(l1Cpus(guest)).toBe(machine)
  })
})

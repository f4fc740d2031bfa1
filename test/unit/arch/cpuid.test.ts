import { describe, expect, it } from 'vitest'
import { adjustCpuid } from '../../../src/arch/x86-64/cpuid.ts'
import { AMD, type CpuidLeaf, type CpuidRegisters, cpuidOf, INTEL, lookUp } from '../../support/cpuid-leaves.ts'

/** vCPUs, and the bits of an APIC ID that number them. */
const SIZES = [
  [1, 0],
  [2, 1],
  [3, 2],
  [4, 2],
  [16, 4],
] as const
const BOTH = [
  ['Intel', INTEL],
  ['AMD', AMD],
] as const
const EVERY = BOTH.flatMap(([vendor, leaves]) => SIZES.map(([cpus, bits]) => ({ vendor, leaves, cpus, bits })))
const SEVERAL = SIZES.filter(([cpus]) => cpus > 1)

function adjusted(leaves: readonly CpuidLeaf[], cpus: number, apicId = cpus - 1, tscDeadline = true) {
  const cpuid = cpuidOf(leaves)
  adjustCpuid(cpuid, { apicId, cpus, tscDeadline })
  return (leaf: number, index = 0): CpuidRegisters => lookUp(cpuid, leaf, index)!
}

const field = (value: number, low: number, width: number) => (value >>> low) & (2 ** width - 1)

describe('adjustCpuid', () => {
  it.each(EVERY)('gives $cpus vCPUs one package in leaf 1: $vendor', ({ leaves, cpus, bits }) => {
    const { ebx, ecx, edx } = adjusted(leaves, cpus)(1)
    expect(field(ebx, 24, 8)).toBe(cpus - 1)
    expect(field(ebx, 16, 8)).toBe(2 ** bits)
    expect(field(ebx, 0, 16)).toBe(0x0800)
    expect(field(edx, 28, 1)).toBe(Number(cpus > 1))
    expect(field(ecx, 31, 1)).toBe(1)
  })

  it.each(EVERY)('numbers $cpus vCPUs as cores of one thread in leaf 0xb: $vendor', ({ leaves, cpus, bits }) => {
    const leaf = adjusted(leaves, cpus)
    expect(leaf(0xb, 0)).toEqual({ eax: 0, ebx: 1, ecx: 0x100, edx: cpus - 1 })
    expect(leaf(0xb, 1)).toEqual({ eax: bits, ebx: cpus, ecx: 0x201, edx: cpus - 1 })
  })

  it.each(SIZES)('says the same of %d vCPUs in leaf 0x1f where there is one', cpus => {
    const leaf = adjusted(INTEL, cpus)
    expect([leaf(0x1f, 0), leaf(0x1f, 1)]).toEqual([leaf(0xb, 0), leaf(0xb, 1)])
    expect(lookUp(cpuidOf(AMD), 0x1f)).toBeUndefined()
  })

  it.each(SIZES)('lets %d vCPUs share the last cache and nothing else: Intel', (cpus, bits) => {
    const leaf = adjusted(INTEL, cpus)
    const shared = [0, 1, 2, 3].map(index => field(leaf(4, index).eax, 14, 12))
    const cores = [0, 1, 2, 3].map(index => field(leaf(4, index).eax, 26, 6))
    expect(shared).toEqual([0, 0, 0, 2 ** bits - 1])
    expect(cores).toEqual(new Array(4).fill(2 ** bits - 1))
    expect(leaf(4, 3)).toMatchObject({ ebx: 0x0380_003f, ecx: 0xffff, edx: 4 })
    expect(field(leaf(4, 3).eax, 0, 14)).toBe(0x0163)
  })

  it.each(SIZES)('lets %d vCPUs share the last cache and nothing else: AMD', cpus => {
    const leaf = adjusted(AMD, cpus)
    const shared = [0, 1, 2, 3].map(index => field(leaf(0x8000_001d, index).eax, 14, 12))
    expect(shared).toEqual([0, 0, 0, cpus - 1])
  })

  it.each(BOTH.map(([vendor, leaves]) => [vendor, leaves, vendor === 'Intel' ? 4 : 0x8000_001d] as const))(
    'leaves the end of the cache list alone: %s',
    (_, leaves, function_) => {
      expect(adjusted(leaves, 4)(function_, 4)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 })
    },
  )

  it.each(SIZES)('counts %d vCPUs in the extended leaves of AMD', (cpus, bits) => {
    const leaf = adjusted(AMD, cpus)
    expect(leaf(0x8000_0008).ecx).toBe(bits * 2 ** 12 + cpus - 1)
    expect(field(leaf(0x8000_0001).ecx, 1, 1)).toBe(Number(cpus > 1))
    expect(leaf(0x8000_001e)).toEqual({ eax: cpus - 1, ebx: cpus - 1, ecx: 0, edx: 0 })
  })

  it.each(SEVERAL)('keeps what Intel reserves at zero with %d vCPUs', cpus => {
    const leaf = adjusted(INTEL, cpus)
    expect(leaf(0x8000_0008)).toEqual({ eax: 0x3934, ebx: 0, ecx: 0, edx: 0 })
    expect(leaf(0x8000_0001).ecx).toBe(0x121)
  })

  it.each([
    ['is there', true, 1],
    ['is missing', false, 0],
  ])('shows the TSC deadline timer as KVM has it: %s', (_, tscDeadline, bit) => {
    expect(field(adjusted(INTEL, 1, 0, tscDeadline)(1).ecx, 24, 1)).toBe(bit)
  })

  it('gives every vCPU its own APIC ID and otherwise the same', () => {
    const ids = Array.from({ length: 16 }, (_, apicId) => adjusted(AMD, 16, apicId))
    expect(ids.map(leaf => leaf(1).ebx >>> 24)).toEqual(ids.map((_, index) => index))
    expect(ids.map(leaf => leaf(0xb, 0).edx)).toEqual(ids.map((_, index) => index))
    expect(new Set(ids.map(leaf => JSON.stringify(leaf(0x8000_0008)))).size).toBe(1)
  })

  it('does not write behind a list without room for another leaf', () => {
    const cpuid = cpuidOf(AMD, 0)
    expect(() => adjustCpuid(cpuid, { apicId: 0, cpus: 2, tscDeadline: true })).not.toThrow()
    expect(lookUp(cpuid, 0xb, 1)).toBeUndefined()
  })
})

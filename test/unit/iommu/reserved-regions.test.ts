import { describe, expect, it } from 'vitest'
import type { ReservedRegion } from '../../../src/iommu/reserved-region.ts'
import { ReservedRegions } from '../../../src/iommu/reserved-regions.ts'

const MSI: ReservedRegion = { kind: 'msi', start: 0x5000, end: 0x5fff }
const LOW: ReservedRegion = { kind: 'reserved', start: 0x1000, end: 0x1fff }

describe('ReservedRegions', () => {
  it.each([
    ['before all', 0, 0xfff, undefined],
    ['the first byte', 0x1000, 0x1000, LOW],
    ['the last byte', 0x1fff, 0x1fff, LOW],
    ['between them', 0x2000, 0x4fff, undefined],
    ['up to the second', 0x2000, 0x5000, MSI],
    ['inside', 0x5800, 0x5900, MSI],
    ['both', 0, 2 ** 64, LOW],
    ['behind all', 0x6000, 2 ** 64, undefined],
  ])('finds the first region in a range: %s', (_, start, end, expected) => {
    expect(new ReservedRegions([MSI, LOW]).first(start, end)).toEqual(expected)
  })

  it.each([
    ['overlap', [LOW, { ...LOW, start: 0x1fff, end: 0x2fff }], 'do not overlap'],
    ['are two for MSIs', [MSI, { ...MSI, start: 0, end: 0xfff }], 'one region for MSIs'],
  ])('are never regions that %s', (_, regions: readonly ReservedRegion[], message) => {
    expect(() => new ReservedRegions(regions)).toThrow(message)
  })
})

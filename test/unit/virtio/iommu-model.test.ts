import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { DISK, iommuDevice, MSI, NET } from '../../support/iommu-device.ts'
import { IommuComparison } from '../../support/iommu-model.ts'

const LIMITS = { domain: 6, total: 1000 }
const ENDPOINTS = [
  { id: DISK, name: 'disk0', reserved: [{ kind: 'reserved', start: 0x8000, end: 0x9fff }] },
  { id: NET, name: 'net0', reserved: [MSI] },
] as const

describe('VirtioIommu', () => {
  it.each([1, 2, 3, 4, 5, 6])('does what the specification says to random requests, with seed %i', seed => {
    const bench = iommuDevice({
      limits: LIMITS,
      endpoints: ENDPOINTS,
      ring: seed % 2 === 0 ? VIRTIO_F_RING_PACKED : 0n,
    })
    const comparison = new IommuComparison(bench, seed)
    comparison.run(1000)
    expect(comparison.statuses[0]).toBeGreaterThan(200)
    expect(Object.keys(comparison.statuses)).toEqual(expect.arrayContaining(['0', '4', '5', '6', '8']))
  })
})

import { describe, expect, it } from 'vitest'
import { deviceNames, isExpress, outsideIommu } from '../../../src/machine/device-names.ts'

describe('deviceNames', () => {
  it('counts each kind for itself, in the order of the configuration', () => {
    const kinds = [
      'console',
      'disk',
      'network',
      'disk',
      'share',
      'rng',
      'balloon',
      'vsock',
      'network',
      'vfio',
      'vfio',
    ] as const
    const names = [
      'console0',
      'disk0',
      'net0',
      'disk1',
      'share0',
      'rng0',
      'balloon0',
      'vsock0',
      'net1',
      'vfio0',
      'vfio1',
    ]
    expect(deviceNames(kinds.map(kind => ({ kind })))).toEqual(names)
  })
})

describe('isExpress', () => {
  it.each([
    ['vfio', true],
    ['disk', false],
  ] as const)('says of a %s: %s', (kind, expected) => {
    expect(isExpress(kind)).toBe(expected)
  })
})

describe('outsideIommu', () => {
  it.each(['console', 'disk', 'network', 'rng', 'vfio', 'vsock'] as const)('lets a %s be behind', kind => {
    expect(outsideIommu(kind)).toBeUndefined()
  })

  it.each(['balloon', 'share'] as const)('has a reason against a %s', kind => {
    expect(outsideIommu(kind)).toMatch(/physical/)
  })
})

import { describe, expect, it } from 'vitest'
import { endpointRanges } from '../../../src/iommu/topology.ts'

const endpoints = (...ids: readonly number[]) => ids.map(id => ({ id, name: `device ${id}`, reserved: [] }))

describe('endpointRanges', () => {
  it.each([
    { ids: [], ranges: [] },
    { ids: [8], ranges: [[8, 1]] },
    { ids: [8, 9, 10], ranges: [[8, 3]] },
    {
      ids: [8, 9, 16, 24, 25],
      ranges: [
        [8, 2],
        [16, 1],
        [24, 2],
      ],
    },
    { ids: [0xff, 0x100], ranges: [[0xff, 2]] },
  ])('covers exactly $ids', ({ ids, ranges }) => {
    const found = endpointRanges({ iommu: 0xf8, endpoints: endpoints(...ids) })
    expect(found.map(({ first, count }) => [first, count])).toEqual(ranges)
  })

  it('leaves out what is not on PCI', () => {
    const [first, , last] = endpoints(8, 9, 10)
    const other = { id: 9, name: 'uart', reserved: [], base: 0x900_0000 }
    expect(endpointRanges({ iommu: 0xf8, endpoints: [first!, other, last!] })).toEqual([
      { first: 8, count: 1 },
      { first: 10, count: 1 },
    ])
  })
})

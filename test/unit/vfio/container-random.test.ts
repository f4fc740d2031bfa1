import { describe, expect, it } from 'vitest'
import { ContainerComparison } from '../../support/container-comparison.ts'
import { FAKE_INFO, FakeContainer } from '../../support/fake-container.ts'

const SEEDS = Array.from({ length: 12 }, (_, seed) => seed)
const ACTS = 600
const PLACES = { ram: 0x7f00_0000_0000, peer: 0x7e00_0000_0000 }

function compare(seed: number, limit: number | undefined, failing: boolean): readonly string[] {
  const port = new FakeContainer({ ...FAKE_INFO, limit })
  const comparison = new ContainerComparison({ seed, port, shown: port, ...PLACES, failing })
  comparison.run(ACTS)
  return comparison.differences
}

describe('ContainerBackend', () => {
  it.each(SEEDS)('has in its container what the IOMMU maps, with seed %d', seed => {
    expect(compare(seed, undefined, false)).toEqual([])
  })

  it.each(SEEDS)('and no more than the host takes, with seed %d', seed => {
    expect(compare(seed, 6, false)).toEqual([])
  })

  it.each(SEEDS)('also when calls fail, with seed %d', seed => {
    expect(compare(seed, 10, true)).toEqual([])
  })
})

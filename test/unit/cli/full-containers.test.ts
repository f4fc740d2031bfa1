import { describe, expect, it } from 'vitest'
import { fullContainers } from '../../../src/cli/full-containers.ts'

const device = (counters: Readonly<Record<string, number>>) => [
  { name: 'vfio0 0000:00:10.0', notifications: 0, interrupts: 0, counters },
]

describe('fullContainers', () => {
  it.each([
    { mappings: 90, mappingLimit: 100 },
    { mappings: 100, mappingLimit: 100 },
  ])('tells of $mappings mappings of $mappingLimit', counters => {
    const { mappings } = counters
    const line = `warning: vfio0 0000:00:10.0 has ${mappings} of the 100 mappings that the host allows`
    expect(fullContainers(device(counters))).toEqual([line])
  })

  it.each([{ mappings: 89, mappingLimit: 100 }, { mappings: 1000 }, { reads: 1 }])('says nothing of %j', counters => {
    expect(fullContainers(device(counters as Record<string, number>))).toEqual([])
  })
})

import { describe, expect, it } from 'vitest'
import { IommuContainerStirrer, type Trouble } from '../../support/iommu-container-stirrer.ts'

const REQUESTS = 400
const TROUBLES: readonly Trouble[] = ['none', 'some', 'much']
const RUNS = TROUBLES.flatMap(trouble => Array.from({ length: 20 }, (_, seed) => [seed, trouble] as const))

describe('Iommu in front of containers', () => {
  it.each(RUNS)('lets groups reach only what is mapped for them, with seed %d and failures: %s', (seed, trouble) => {
    const stirrer = new IommuContainerStirrer(seed, trouble)
    stirrer.run(REQUESTS)
    expect(stirrer.differences).toEqual([])
  })

  it('ends the machine when the host keeps a mapping', () => {
    const ended = TROUBLES.map(trouble => {
      const stirrer = new IommuContainerStirrer(0, trouble)
      stirrer.run(10 * REQUESTS)
      return stirrer.hasEnded
    })
    expect(ended).toEqual([false, false, true])
  })
})

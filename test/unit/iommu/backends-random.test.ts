import { describe, expect, it } from 'vitest'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { BackendStirrer } from '../../support/backend-stirrer.ts'

const SEEDS = Array.from({ length: 15 }, (_, i) => i + 1)

describe('Backends', () => {
  it.each(SEEDS)('have what their domains map after every request (seed %d)', seed => {
    const stirrer = new BackendStirrer(seed, 0)
    stirrer.run(1500)
    expect(stirrer.outcomes[Outcome.ok]).toBeGreaterThan(500)
    expect([stirrer.outcomes[Outcome.deviceError], stirrer.broken]).toEqual([undefined, 0])
  })

  it.each(SEEDS)('have what their domains map, or nothing, when calls fail (seed %d)', seed => {
    const stirrer = new BackendStirrer(seed, 6)
    stirrer.run(1500)
    expect(stirrer.outcomes[Outcome.ok]).toBeGreaterThan(400)
    expect(stirrer.outcomes[Outcome.deviceError]).toBeGreaterThan(5)
    expect(stirrer.broken).toBeGreaterThan(10)
  })
})

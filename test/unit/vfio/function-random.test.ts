import { describe, expect, it } from 'vitest'
import { VfioStirrer } from '../../support/vfio-stirrer.ts'

const SEEDS = Array.from({ length: 8 }, (_, seed) => seed)
const ACTS = 3000

describe('VfioFunction', () => {
  it.each(SEEDS)('keeps the device in order whatever the guest does, with seed %d', seed => {
    const stirrer = new VfioStirrer(seed, false)
    stirrer.run(ACTS)
    stirrer[Symbol.dispose]()
    expect(stirrer.faults).toEqual([])
    expect(stirrer.seen.memory).toBeGreaterThan(100)
    expect(stirrer.seen.messages).toBeGreaterThan(100)
  })

  it.each(SEEDS)('also on a host that refuses much, with seed %d', seed => {
    const stirrer = new VfioStirrer(seed, true)
    stirrer.run(ACTS)
    stirrer[Symbol.dispose]()
    expect(stirrer.faults).toEqual([])
  })
})

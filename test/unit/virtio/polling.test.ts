import { describe, expect, it } from 'vitest'
import { runPollingModel } from '../../support/polling-model.ts'

const STEPS = 300
const SEEDS = Array.from({ length: 40 }, (_, seed) => seed + 1)
const RINGS = [
  { ring: 'split', packed: false, eventIdx: false },
  { ring: 'split with indexes', packed: false, eventIdx: true },
  { ring: 'packed', packed: true, eventIdx: false },
  { ring: 'packed with events', packed: true, eventIdx: true },
]
const CASES = RINGS.flatMap(ring => [1, 3].map(needed => ({ ...ring, needed })))

describe('a polled queue', () => {
  it.each(CASES)('loses no wake-up ($ring, $needed at a time)', ({ packed, eventIdx, needed }) => {
    const results = SEEDS.map(seed => runPollingModel(seed, STEPS, { packed, eventIdx, needed, size: 8 }))
    expect(results.filter(({ lost, broken }) => lost > 0 || broken.length > 0)).toEqual([])
    const all = (count: (result: (typeof results)[number]) => number) =>
      results.reduce((sum, result) => sum + count(result), 0)
    // Both ways to find chains were taken often, and with a poller there are fewer notifications than chains.
    expect(all(({ polled }) => polled)).toBeGreaterThan(500)
    expect(all(({ notifications }) => notifications)).toBeGreaterThan(200)
    expect(all(({ notifications }) => notifications)).toBeLessThan(all(({ used }) => used))
  })
})

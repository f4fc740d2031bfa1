import { describe, expect, it } from 'vitest'
import { ticks } from '../../../src/report/axis.ts'

describe('ticks', () => {
  it.each([
    [0, 10, 5, [0, 2, 4, 6, 8, 10]],
    [0, 1, 4, [0, 0.5, 1]],
    [0.1, 0.4, 3, [0.1, 0.2, 0.3, 0.4]],
    [7, 93, 4, [50]],
    [1e6, 1e6 + 3, 3, [1e6, 1e6 + 1, 1e6 + 2, 1e6 + 3]],
    [5, 5, 4, [5]],
    [0, 0, 8, [0]],
  ])('from %d to %d, about %d', (low, high, count, values) => expect(ticks(low, high, count)).toEqual(values))
})

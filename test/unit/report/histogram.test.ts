import { describe, expect, it } from 'vitest'
import { Histogram } from '../../../src/report/histogram.ts'

function of(values: readonly number[]) {
  const histogram = new Histogram()
  for (const value of values) histogram.add(value)
  return histogram.summary()
}

const THOUSAND = Array.from({ length: 1000 }, (_, index) => index + 1)

describe('Histogram', () => {
  it('has nothing to say of nothing', () => {
    expect(of([])).toEqual({ count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0, bars: [] })
  })

  it('knows count, mean and maximum exactly', () => {
    expect(of([1, 2, 3, 10])).toMatchObject({ count: 4, mean: 4, max: 10 })
  })

  it.each([
    ['p50', 500],
    ['p90', 900],
    ['p99', 990],
  ] as const)('knows the %s of 1 to 1000 within 4.5 %%', (name, value) => {
    const found = of(THOUSAND)[name]
    expect(found).toBeGreaterThanOrEqual(value)
    expect(found).toBeLessThan(value * 1.045)
  })

  it('says the one value that all values are', () => {
    expect(of([3.7, 3.7, 3.7])).toMatchObject({ p50: 3.7, p90: 3.7, p99: 3.7, max: 3.7 })
  })

  it('has a bar for each doubling, from the first with values to the last', () => {
    expect(of([1, 1.5, 2, 9]).bars).toEqual([
      { low: 1, high: 2, count: 2 },
      { low: 2, high: 4, count: 1 },
      { low: 4, high: 8, count: 0 },
      { low: 8, high: 16, count: 1 },
    ])
  })

  it.each([0, 1e-9, -5])('counts %d as less than the smallest bar', value => {
    expect(of([value]).bars).toEqual([{ low: 0, high: 2 ** -5, count: 1 }])
  })

  it('takes a value above all bars', () => {
    expect(of([2 ** 70])).toMatchObject({ count: 1, max: 2 ** 70 })
  })
})

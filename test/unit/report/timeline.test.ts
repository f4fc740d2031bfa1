import { describe, expect, it } from 'vitest'
import { Timeline } from '../../../src/report/timeline.ts'

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

describe('Timeline', () => {
  it('counts what happened in which step', () => {
    const timeline = new Timeline(2)
    timeline.add(0, 0)
    timeline.add(0.1, 1)
    timeline.add(0.3, 1)
    expect(timeline.steps().map(({ counts }) => counts)).toEqual([
      [1, 1],
      [0, 0],
      [0, 1],
    ])
  })

  it.each([1, 31, 32, 100, 5000, 1e9])('counts all of what goes on for %d ms in at most 256 steps', lastMs => {
    const timeline = new Timeline(1)
    const times = Array.from({ length: 1001 }, (_, index) => (lastMs * index) / 1000)
    for (const atMs of times) timeline.add(atMs, 0)
    const steps = timeline.steps()
    expect(sum(steps.map(({ counts }) => counts[0] ?? 0))).toBe(1001)
    expect(steps.length).toBeLessThanOrEqual(256)
    expect((steps.length - 1) * timeline.stepMs).toBeLessThanOrEqual(lastMs)
    expect(steps.length * timeline.stepMs).toBeGreaterThan(lastMs)
  })

  it('keeps the value of the gauge until it is set again, and the peak within a step', () => {
    const timeline = new Timeline(1)
    timeline.gauge(0, 5)
    timeline.gauge(0.01, 2)
    timeline.gauge(0.6, 1)
    timeline.add(0.8, 0)
    expect(timeline.steps().map(({ peak }) => peak)).toEqual([5, 2, 2, 2, 2, 1, 1])
  })

  it('keeps the peak when steps are joined', () => {
    const timeline = new Timeline(1)
    timeline.gauge(1, 7)
    timeline.gauge(1.2, 3)
    timeline.add(1e6, 0)
    const peaks = timeline.steps().map(({ peak }) => peak)
    expect([peaks[0], peaks[1], peaks.at(-1)]).toEqual([7, 3, 3])
  })
})

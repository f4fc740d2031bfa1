import { describe, expect, it } from 'vitest'
import { type PanicEvent, Pvpanic } from '../../../src/devices/pvpanic.ts'
import { fuzz } from './surroundings.ts'

describe('Pvpanic', () => {
  it('announces both events', () => {
    expect(new Pvpanic(() => {}).read()).toBe(0x03)
  })

  it.each([
    [0x01, ['panicked']],
    [0x02, ['crash-loaded']],
    [0x03, ['panicked']],
    [0xfc, []],
  ])('reports a write of %i as %j', (value, expected) => {
    const events: PanicEvent[] = []
    new Pvpanic(event => events.push(event)).write(0, 1, value)
    expect(events).toEqual(expected)
  })

  it('answers random accesses in range', () => {
    expect(fuzz(new Pvpanic(() => {}), Pvpanic.SIZE, 100_000, () => {})).toBe(0)
  })
})

import { describe, expect, it } from 'vitest'
import { Bus } from '../../../src/bus/bus.ts'
import { POST_RANGE, PostPort } from '../../../src/devices/post.ts'
import { fuzz } from './surroundings.ts'

describe('PostPort', () => {
  it('reads as ones, as an unmapped port does', () => {
    const bus = new Bus('port')
    bus.add({ ...POST_RANGE, start: 0x80 }, new PostPort())
    bus.write(0x80, 1, 0x12)
    expect(bus.read(0x80, 1)).toBe(bus.read(0x81, 1))
  })

  it('is declared silent, so that vCPU threads need not forward it', () => {
    expect(POST_RANGE.silent).toBe(true)
  })

  it('answers random accesses in range', () => {
    expect(fuzz(new PostPort(), POST_RANGE.size, 100_000, () => {})).toBe(0)
  })
})

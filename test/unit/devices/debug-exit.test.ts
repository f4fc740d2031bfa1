import { describe, expect, it } from 'vitest'
import { DebugExit, exitStatus } from '../../../src/devices/debug-exit.ts'
import { fuzz } from './surroundings.ts'

describe('exitStatus', () => {
  it.each([
    [0x00, 1],
    [0x01, 3],
    [0x10, 33],
    [0x7f, 255],
    [0x80, 1],
    [0xffff_ffff, 255],
  ])('makes value %i status %i', (value, status) => {
    expect(exitStatus(value)).toBe(status)
  })
})

describe('DebugExit', () => {
  it.each([
    [0, 1],
    [0, 4],
    [2, 2],
  ])('exits for a write to offset %i of size %i', (offset, size) => {
    const statuses: number[] = []
    const port = new DebugExit(status => statuses.push(status))
    port.write(offset, size, 0x15)
    expect(statuses).toEqual([43])
  })

  it('answers random accesses in range, with odd statuses only', () => {
    const statuses = new Set<number>()
    const tooWide = fuzz(new DebugExit(status => statuses.add(status)), DebugExit.SIZE, 100_000, () => {})
    expect(tooWide).toBe(0)
    expect([...statuses].filter(status => (status & 1) === 0 || status > 255)).toEqual([])
  })
})

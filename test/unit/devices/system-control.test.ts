import { describe, expect, it } from 'vitest'
import { SystemControl } from '../../../src/devices/system-control.ts'
import { fuzz } from './surroundings.ts'

function port() {
  const outside = { resets: 0 }
  return { outside, control: new SystemControl(() => outside.resets++) }
}

describe('SystemControl', () => {
  it('starts with A20 on and reads back what was written', () => {
    const { control } = port()
    expect(control.read()).toBe(0x02)
    control.write(0, 1, 0xfc)
    expect(control.read()).toBe(0x00)
  })

  it('resets when bit 0 rises, once', () => {
    const { control, outside } = port()
    control.write(0, 1, 0x03)
    control.write(0, 1, 0x03)
    expect(outside.resets).toBe(1)
  })

  it('can reset again after a machine reset', () => {
    const { control, outside } = port()
    control.write(0, 1, 0x01)
    control.reset()
    control.write(0, 1, 0x01)
    expect([outside.resets, control.read()]).toEqual([2, 0x01])
  })

  it('answers random accesses in range', () => {
    expect(fuzz(port().control, SystemControl.SIZE, 100_000, () => {})).toBe(0)
  })
})

import { describe, expect, it } from 'vitest'
import { Bus } from '../../../src/bus/bus.ts'
import { AcpiPm, SLP_TYP_S5 } from '../../../src/devices/acpi-pm.ts'
import { fuzz, RecordingLine } from './surroundings.ts'

const STS = 0x600
const EN = 0x602
const CNT = 0x604
const PWRBTN = 0x100

/** The block at its ports, with its SCI and the power-off count. */
function machine() {
  const outside = { powerOffs: 0 }
  const line = new RecordingLine()
  const pm = new AcpiPm({ interrupt: line, onPowerOff: () => outside.powerOffs++ })
  const bus = new Bus('port')
  bus.add({ name: 'acpi pm', start: STS, size: AcpiPm.SIZE }, pm)
  return { outside, line, pm, bus }
}

describe('AcpiPm power button', () => {
  it('raises the SCI when it is enabled, until the status is cleared', () => {
    const { line, pm, bus } = machine()
    bus.write(EN, 2, PWRBTN)
    pm.pressPowerButton()
    expect([bus.read(STS, 2), line.level]).toEqual([PWRBTN, true])
    bus.write(STS, 2, PWRBTN)
    expect([bus.read(STS, 2), line.level]).toEqual([0, false])
  })

  it('is remembered while disabled and raises the SCI at the enable', () => {
    const { line, pm, bus } = machine()
    pm.pressPowerButton()
    expect(line.level).toBe(false)
    bus.write(EN, 2, PWRBTN)
    expect(line.level).toBe(true)
  })

  it('is not cleared by writing other status bits or zeros', () => {
    const { pm, bus } = machine()
    pm.pressPowerButton()
    bus.write(STS, 2, 0xfeff)
    bus.write(STS, 1, 0xff)
    expect(bus.read(STS, 2)).toBe(PWRBTN)
  })

  it('reads and clears by a 4-byte access to both registers', () => {
    const { pm, bus } = machine()
    pm.pressPowerButton()
    bus.write(STS, 4, (PWRBTN << 16) | PWRBTN)
    expect(bus.read(STS, 4)).toBe(PWRBTN << 16)
  })
})

describe('AcpiPm control', () => {
  it('always reads SCI_EN', () => {
    const { bus } = machine()
    bus.write(CNT, 2, 0)
    expect(bus.read(CNT, 2)).toBe(1)
  })

  it('powers off at SLP_EN with the S5 type, and SLP_EN reads 0', () => {
    const { outside, bus } = machine()
    bus.write(CNT, 2, (SLP_TYP_S5 << 10) | 1)
    expect(outside.powerOffs).toBe(0)
    bus.write(CNT, 2, (SLP_TYP_S5 << 10) | 0x2001)
    expect(outside.powerOffs).toBe(1)
    expect(bus.read(CNT, 2)).toBe((SLP_TYP_S5 << 10) | 1)
  })

  it('powers off by a byte write to the upper half', () => {
    const { outside, bus } = machine()
    bus.write(CNT + 1, 1, 0x34)
    expect(outside.powerOffs).toBe(1)
  })

  it.each([0, 1, 2, 3, 4, 6, 7])('stays on for sleep type %i', type => {
    const { outside, bus } = machine()
    bus.write(CNT, 2, (type << 10) | 0x2000)
    expect(outside.powerOffs).toBe(0)
  })
})

describe('AcpiPm.reset', () => {
  it('clears the registers and the SCI', () => {
    const { line, pm, bus } = machine()
    bus.write(EN, 2, PWRBTN)
    bus.write(CNT, 2, 0x1400)
    pm.pressPowerButton()
    pm.reset()
    expect([bus.read(STS, 2), bus.read(EN, 2), bus.read(CNT, 2), line.level]).toEqual([0, 0, 1, false])
  })
})

describe('AcpiPm under random accesses', () => {
  it('answers in range and keeps the SCI equal to status and enable', () => {
    const { line, pm } = machine()
    const buttons = [() => pm.pressPowerButton()]
    let wrong = 0
    const tooWide = fuzz(pm, AcpiPm.SIZE, 100_000, random => {
      buttons[random & 7]?.()
      wrong += Number(line.level !== ((pm.read(1) & pm.read(3) & 1) === 1))
    })
    expect({ tooWide, wrong, redundant: line.redundant }).toEqual({ tooWide: 0, wrong: 0, redundant: 0 })
    expect(line.edges).toBeGreaterThan(100)
  })
})

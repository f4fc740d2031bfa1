import { describe, expect, it } from 'vitest'
import { encodeTime, loadTime, nextAlarm, RtcFormat, storeTime } from '../../../src/devices/rtc-time.ts'
import { seededRandom } from './surroundings.ts'

const BCD_24 = RtcFormat.hours24
const BINARY_24 = RtcFormat.binary | RtcFormat.hours24
const BINARY_12 = RtcFormat.binary
const BCD_12 = 0
/** Saturday. */
const MOMENT = Date.UTC(2026, 10, 21, 23, 59, 48)

const TIME_REGISTERS = [0x00, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x32]

describe('encodeTime', () => {
  it.each([
    ['BCD, 24 h', BCD_24, [0x48, 0x59, 0x23, 0x07, 0x21, 0x11, 0x26, 0x20]],
    ['binary, 24 h', BINARY_24, [48, 59, 23, 7, 21, 11, 26, 20]],
    ['BCD, 12 h', BCD_12, [0x48, 0x59, 0x91, 0x07, 0x21, 0x11, 0x26, 0x20]],
    ['binary, 12 h', BINARY_12, [48, 59, 0x8b, 7, 21, 11, 26, 20]],
  ])('writes %s', (_name, format, expected) => {
    expect(TIME_REGISTERS.map(register => encodeTime(register, MOMENT, format))).toEqual(expected)
  })

  it.each([
    [0, 0x12],
    [1, 0x01],
    [11, 0x11],
    [12, 0x92],
    [13, 0x81],
    [23, 0x91],
  ])('writes hour %i as %i in BCD with 12 hours', (hour, expected) => {
    expect(encodeTime(0x04, Date.UTC(2000, 0, 1, hour), BCD_12)).toBe(expected)
  })
})

describe('loadTime', () => {
  it.each([BCD_24, BINARY_24, BCD_12, BINARY_12])('reads back every stored moment in format %i', format => {
    const random = seededRandom(format)
    const cmos = new Uint8Array(128)
    const moments = Array.from({ length: 2000 }, () => (random() % 4_000_000_000) * 1000)
    const loaded = moments.map(moment => {
      storeTime(cmos, moment, format)
      return loadTime(cmos, format)
    })
    expect(loaded).toEqual(moments)
  })

  it.each([0x00, 0xff])('makes some date of registers full of %i', fill => {
    const cmos = new Uint8Array(128).fill(fill)
    expect(Number.isSafeInteger(loadTime(cmos, BCD_24))).toBe(true)
    expect(Number.isSafeInteger(loadTime(cmos, BINARY_12))).toBe(true)
  })
})

describe('nextAlarm', () => {
  const after = MOMENT / 1000

  it.each([
    ['the next second for all wildcards', [0xff, 0xc0, 0xff], 1],
    ['each minute', [0xff, 0xff, 0x00], 12],
    ['each hour', [0xff, 0x00, 0x30], 42],
    ['tomorrow', [0x00, 0x00, 0x05], 17],
    ['in 24 hours for the present second', [0x23, 0x59, 0x48], 86_400],
    ['never for second 70', [0xff, 0xff, 0x70], Number.POSITIVE_INFINITY],
    ['never for hour 25', [0x25, 0x00, 0x00], Number.POSITIVE_INFINITY],
  ])('rings %s', (_name, [hours, minutes, seconds], delay) => {
    const cmos = new Uint8Array(128)
    cmos.set([seconds!], 1)
    cmos.set([minutes!], 3)
    cmos.set([hours!], 5)
    expect(nextAlarm(cmos, after, BCD_24)).toBe(after + delay)
  })

  it('finds the same second as counting up to it, before 1970 too', () => {
    const random = seededRandom(7)
    const cmos = new Uint8Array(128)
    const cases = Array.from({ length: 30 }, () => {
      cmos.set([random() % 60, 0, random() % 60, 0, random() % 24], 1)
      const start = (random() % 2_000_000) - 1_000_000
      return [nextAlarm(cmos, start, BINARY_24), countTo(cmos, start)]
    })
    expect(cases.map(([found]) => found)).toEqual(cases.map(([, counted]) => counted))
  })
})

/** The slow way to the next alarm. */
function countTo(cmos: Uint8Array, start: number): number {
  let at = start + 1
  const matches = () => {
    const date = new Date(at * 1000)
    return date.getUTCSeconds() === cmos[1] && date.getUTCMinutes() === cmos[3] && date.getUTCHours() === cmos[5]
  }
  while (!matches()) at++
  return at
}

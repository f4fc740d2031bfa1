import { describe, expect, it } from 'vitest'
import { Rtc } from '../../../src/devices/rtc.ts'
import { fuzz, RecordingLine, TestClock } from './surroundings.ts'

const START = Date.UTC(2026, 10, 21, 3, 46, 29)
const MIB = 1024 * 1024
const A = 0x0a
const B = 0x0b
const C = 0x0c
const PIE = 0x40
const AIE = 0x20
const UIE = 0x10
const SET = 0x80
const H24 = 0x02

function machine(memory = { below4GiB: 256 * MIB, above4GiB: 0 }) {
  const clock = new TestClock(START)
  const line = new RecordingLine()
  const rtc = new Rtc({ interrupt: line, now: clock.now, timer: clock, memory })
  const get = (register: number) => {
    rtc.write(0, 1, register)
    return rtc.read(1)
  }
  const put = (register: number, value: number) => {
    rtc.write(0, 1, register)
    rtc.write(1, 1, value)
  }
  const time = () => [0x32, 9, 8, 7, 4, 2, 0].map(get)
  return { clock, line, rtc, get, put, time }
}

/** Sets the time in the order Linux does: SET, divider reset, registers, SET off, divider on. */
function setTime(put: (register: number, value: number) => void, bcd: readonly number[]): void {
  put(B, SET | H24)
  put(A, 0x76)
  for (const [i, register] of [9, 8, 7, 4, 2, 0, 0x32].entries()) put(register, bcd[i]!)
  put(B, H24)
  put(A, 0x26)
}

describe('Rtc time', () => {
  it('shows the host time in UTC, BCD and 24 hours', () => {
    expect(machine().time()).toEqual([0x20, 0x26, 0x11, 0x21, 0x03, 0x46, 0x29])
  })

  it('goes on with the host', () => {
    const { clock, time } = machine()
    clock.advance(31_000)
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x21, 0x03, 0x47, 0x00])
  })

  it('shows binary when register B says so', () => {
    const { put, time } = machine()
    put(B, H24 | 0x04)
    expect(time()).toEqual([20, 26, 11, 21, 3, 46, 29])
  })

  it('reads the century byte as RAM that follows the time', () => {
    const { clock, get } = machine()
    clock.nowMs = Date.UTC(2100, 0, 1)
    expect([get(0x32), get(9)]).toEqual([0x21, 0x00])
  })

  it('ignores the NMI bit of the index, and the index does not read back', () => {
    const { rtc } = machine()
    rtc.write(0, 1, 0x80 | 0x09)
    expect([rtc.read(1), rtc.read(0)]).toEqual([0x26, 0xff])
  })

  it('keeps what the guest sets, starting half a second before the next update', () => {
    const { clock, put, time } = machine()
    setTime(put, [0x99, 0x12, 0x31, 0x23, 0x59, 0x59, 0x19])
    clock.advance(499)
    expect(time()).toEqual([0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59])
    clock.advance(1)
    expect(time()).toEqual([0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00])
  })

  it('stands still while SET is on', () => {
    const { clock, put, time } = machine()
    put(B, SET | H24)
    clock.advance(10_000)
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x21, 0x03, 0x46, 0x29])
    put(B, H24)
    clock.advance(1000)
    expect(time().at(-1)).toBe(0x30)
  })

  it('takes a register written while it runs', () => {
    const { clock, put, time } = machine()
    clock.advance(400)
    put(0x04, 0x22)
    clock.advance(600)
    expect(time()).toEqual([0x20, 0x26, 0x11, 0x21, 0x22, 0x46, 0x30])
  })

  it('keeps time and RAM over a machine reset, but not the interrupts', () => {
    const { line, rtc, put, get } = machine()
    setTime(put, [0x30, 0x01, 0x02, 0x03, 0x04, 0x05, 0x20])
    put(0x40, 0xa5)
    put(B, H24 | PIE | AIE | UIE)
    rtc.reset()
    expect([get(9), get(0x40), get(B), line.level]).toEqual([0x30, 0xa5, H24, false])
  })
})

describe('Rtc update in progress', () => {
  it.each([
    [0, 0x26],
    [500, 0x26],
    [997, 0x26],
    [998, 0xa6],
    [999.9, 0xa6],
    [1000, 0x26],
  ])('after %d ms register A reads %i', (ms, a) => {
    const { clock, get } = machine()
    clock.advance(ms)
    expect(get(A)).toBe(a)
  })

  it('is never on while SET holds the clock', () => {
    const { clock, get, put } = machine()
    put(B, SET | H24)
    clock.advance(999)
    expect(get(A)).toBe(0x26)
  })

  it('lets the read loop of Linux finish within its first 20 ms at any phase', () => {
    const { clock, get } = machine()
    const waits = Array.from({ length: 1000 }, () => {
      clock.advance(1001)
      return msUntilReadable(clock, get)
    })
    expect(Math.max(...waits)).toBeLessThanOrEqual(3)
  })
})

describe('Rtc interrupts', () => {
  it('rings at each update, and again only after register C was read', () => {
    const { clock, line, get, put } = machine()
    put(B, H24 | UIE)
    clock.advance(999)
    expect(line.level).toBe(false)
    clock.advance(1)
    expect(line.level).toBe(true)
    expect(clock.isArmed).toBe(false)
    clock.advance(5000)
    expect(line.edges).toBe(1)
    expect(get(C) & 0x90).toBe(0x90)
    expect(line.level).toBe(false)
    clock.advance(1000)
    expect(line.edges).toBe(2)
  })

  it('rings at the alarm', () => {
    const { clock, line, get, put } = machine()
    put(0x01, 0x10)
    put(0x03, 0x47)
    put(0x05, 0x03)
    put(B, H24 | AIE)
    clock.advance(40_999)
    expect(line.level).toBe(false)
    clock.advance(1)
    expect(line.level).toBe(true)
    expect(get(C) & 0xa0).toBe(0xa0)
  })

  it('moves the alarm along when the time is set', () => {
    const { clock, line, put } = machine()
    put(0x01, 0x00)
    put(0x03, 0x00)
    put(0x05, 0x00)
    setTime(put, [0x26, 0x11, 0x21, 0x23, 0x59, 0x59, 0x20])
    put(B, H24 | AIE)
    clock.advance(500)
    expect(line.level).toBe(true)
  })

  it.each([
    ['1024 Hz', 0x26, 1024],
    ['2 Hz', 0x2f, 2],
    ['256 Hz by rate 1', 0x21, 256],
    ['128 Hz by rate 2', 0x22, 128],
    ['8192 Hz', 0x23, 8192],
    ['nothing at rate 0', 0x20, 0],
    ['nothing with the divider in reset', 0x66, 0],
  ])('ticks at %s', (_name, a, expected) => {
    const { clock, line, put, rtc } = machine()
    put(A, a)
    put(B, H24 | PIE)
    rtc.write(0, 1, C)
    for (let i = 0; i < 16_384; i++) {
      clock.advance(1000 / 16_384)
      rtc.read(1)
    }
    expect(line.edges).toBe(expected)
  })

  it('shows flags to a guest that polls, without arming a timer', () => {
    const { clock, get } = machine()
    get(C)
    clock.advance(1000)
    expect(clock.isArmed).toBe(false)
    expect(get(C)).toBe(0x70 & ~AIE)
    expect(get(C)).toBe(0)
  })

  it('clears the update enable when SET is turned on', () => {
    const { clock, get, put } = machine()
    put(B, H24 | UIE | SET)
    expect([get(B), clock.isArmed]).toEqual([H24 | SET, false])
  })

  it('rings at once when an enable meets a flag that is already there', () => {
    const { clock, line, put } = machine()
    clock.advance(1000)
    put(B, H24 | UIE)
    expect(line.level).toBe(true)
  })

  it('starts a new period when the rate is set', () => {
    const { clock, line, put } = machine()
    put(A, 0x20)
    put(B, H24 | PIE)
    clock.advance(400)
    put(A, 0x2f)
    clock.advance(499)
    expect(line.level).toBe(false)
    clock.advance(1)
    expect(line.level).toBe(true)
  })

  it.each([
    ['updates', UIE],
    ['periodic ticks', PIE],
  ])('goes on with %s after the host clock was set back', (_name, enable) => {
    const { clock, line, get, put } = machine()
    put(B, H24 | enable)
    clock.advance(2000)
    clock.nowMs -= 3_600_000
    get(C)
    get(C)
    expect(line.level).toBe(false)
    clock.advance(1000)
    expect(line.level).toBe(true)
  })
})

describe('Rtc memory sizes', () => {
  it.each([
    ['512 KiB', 0.5 * MIB, 0, [512, 0, 0, 0, 0]],
    ['8 MiB', 8 * MIB, 0, [640, 7168, 7168, 0, 0]],
    ['256 MiB', 256 * MIB, 0, [640, 65_535, 65_535, 3840, 0]],
    ['3 GiB and 3 GiB above', 3072 * MIB, 3072 * MIB, [640, 65_535, 65_535, 48_896, 49_152]],
    ['more than the registers hold', 4096 * MIB, 2 ** 41, [640, 65_535, 65_535, 65_280, 0xff_ffff]],
  ])('describe %s', (_name, below4GiB, above4GiB, expected) => {
    const { get } = machine({ below4GiB, above4GiB })
    const pair = (low: number) => get(low) | (get(low + 1) << 8)
    expect([pair(0x15), pair(0x17), pair(0x30), pair(0x34), pair(0x5b) | (get(0x5d) << 16)]).toEqual(expected)
  })
})

describe('Rtc registers', () => {
  it('has all of its RAM writable', () => {
    const { get, put } = machine()
    const ram = Array.from({ length: 128 }, (_, register) => register).filter(
      register => register >= 0x0e && register !== 0x32,
    )
    for (const register of ram) put(register, register ^ 0xff)
    expect(ram.map(get)).toEqual(ram.map(register => register ^ 0xff))
  })

  it('says that its battery is good, and registers C and D take no writes', () => {
    const { get, put } = machine()
    put(C, 0xff)
    put(0x0d, 0x00)
    expect([get(0x0d), get(C)]).toEqual([0x80, 0x00])
  })
})

describe('Rtc under random accesses', () => {
  it('answers in range, calls its line only at changes, and rings only for enabled flags', () => {
    const { clock, line, rtc } = machine()
    let wrong = 0
    const tooWide = fuzz(rtc, Rtc.SIZE, 100_000, random => {
      clock.advance((random & 0xff) * 0.01)
      clock.nowMs += [-5000, 3_600_000][random >>> 23] ?? 0
      rtc.write(0, 1, [A, B, C, random & 0x7f][random & 3]!)
      wrong += Number(line.level && !rings(rtc))
    })
    expect({ tooWide, wrong, redundant: line.redundant }).toEqual({ tooWide: 0, wrong: 0, redundant: 0 })
    expect(line.edges).toBeGreaterThan(100)
  })
})

/** Whether register C says why the line is high. Reading it lets the line fall. */
function rings(rtc: Rtc): boolean {
  rtc.write(0, 1, C)
  return (rtc.read(1) & 0x80) !== 0
}

/** Reads seconds and UIP as mc146818_avoid_UIP does, 1 ms apart, until a reading is good. */
function msUntilReadable(clock: TestClock, get: (register: number) => number): number {
  const good = () => {
    const seconds = get(0)
    return (get(A) & 0x80) === 0 && get(0) === seconds
  }
  let waited = 0
  while (!good() && waited < 1000) {
    clock.advance(1)
    waited++
  }
  return waited
}

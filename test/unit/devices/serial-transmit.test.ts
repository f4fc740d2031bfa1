import { describe, expect, it } from 'vitest'
import { Serial } from '../../../src/devices/serial.ts'
import { fuzz, type RecordingLine, type RecordingMirror } from './surroundings.ts'
import { FCR, IER, IIR, LSR, MCR, MSR, RBR, THR, uart } from './uart.ts'

describe('Serial transmitter', () => {
  it('raises THRE when the interrupt is enabled, and again when it is enabled anew', () => {
    const { line, serial, put } = uart()
    put(IER, 0x02)
    expect(serial.read(IIR)).toBe(0x02)
    expect(serial.read(IIR)).toBe(0x01)
    put(IER, 0x02)
    expect(serial.read(IIR)).toBe(0x01)
    put(IER, 0x00)
    put(IER, 0x02)
    expect(serial.read(IIR)).toBe(0x02)
    expect(line.edges).toBe(2)
  })

  it('keeps THRE pending when IIR reports a source above it', () => {
    const { serial, put } = uart()
    put(IER, 0x03)
    serial.receive(Uint8Array.of(1))
    expect(serial.read(IIR)).toBe(0x04)
    serial.read(RBR)
    expect(serial.read(IIR)).toBe(0x02)
  })

  it('gives a new edge for each byte even if IIR is never read', () => {
    const { line, put } = uart()
    put(IER, 0x02)
    put(THR, 1)
    put(THR, 2)
    expect(line.edges).toBe(3)
  })

  it('keeps every byte while the sink is full, with THRE and TEMT clear until it has drained', () => {
    const { host, line, serial, put } = uart()
    put(IER, 0x02)
    serial.read(IIR)
    host.open = false
    for (let i = 0; i < 40; i++) put(THR, i)
    expect(serial.read(LSR)).toBe(0)
    expect(line.level).toBe(false)
    serial.outputReady()
    expect(serial.read(LSR)).toBe(0)
    host.open = true
    serial.outputReady()
    expect(host.output).toEqual(Array.from({ length: 40 }, (_, i) => i))
    expect(serial.read(LSR)).toBe(0x60)
    expect(serial.read(IIR)).toBe(0x02)
  })

  it('keeps the order of bytes written while older ones wait', () => {
    const { host, serial, put } = uart()
    host.open = false
    put(THR, 1)
    host.open = true
    put(THR, 2)
    serial.outputReady()
    expect(host.output).toEqual([1, 2])
  })

  it('does not raise THRE when it is enabled while output waits', () => {
    const { host, serial, put } = uart()
    host.open = false
    put(THR, 1)
    put(IER, 0x02)
    expect(serial.read(IIR)).toBe(0x01)
  })

  it('does not throw away waiting output when the guest clears the FIFO', () => {
    const { host, serial, put } = uart()
    host.open = false
    put(THR, 1)
    put(FCR, 0x07)
    host.open = true
    serial.outputReady()
    expect(host.output).toEqual([1])
  })
})

describe('Serial loopback and modem lines', () => {
  it.each([
    ['RTS as CTS', 0x02, 0x10],
    ['DTR as DSR', 0x01, 0x20],
    ['OUT1 as RI', 0x04, 0x40],
    ['OUT2 as DCD', 0x08, 0x80],
  ])('shows %s', (_name, output, input) => {
    const { serial, put } = uart()
    put(MCR, 0x10 | output)
    expect(serial.read(MSR) & 0xf0).toBe(input)
  })

  it('brings sent bytes back, not to the host, and flags the 17th as overrun', () => {
    const { host, serial, put } = uart()
    put(FCR, 0x01)
    put(MCR, 0x10)
    for (let i = 0; i < 17; i++) put(THR, i)
    expect(host.output).toEqual([])
    expect(serial.read(LSR)).toBe(0x63)
    expect(Array.from({ length: 16 }, () => serial.read(RBR))).toEqual(Array.from({ length: 16 }, (_, i) => i))
  })

  it('interrupts on a modem line change until MSR is read', () => {
    const { line, serial, put } = uart()
    put(IER, 0x08)
    put(MCR, 0x10)
    expect(serial.read(IIR)).toBe(0x00)
    expect(serial.read(MSR)).toBe(0x0b)
    expect(serial.read(MSR)).toBe(0x00)
    expect(line.level).toBe(false)
  })

  it('flags the ring indicator only when it ends', () => {
    const { serial, put } = uart()
    put(MCR, 0x10)
    serial.read(MSR)
    put(MCR, 0x14)
    expect(serial.read(MSR)).toBe(0x40)
    put(MCR, 0x10)
    expect(serial.read(MSR)).toBe(0x04)
  })
})

describe('Serial mirror', () => {
  it('publishes IIR, LSR and MSR at power-on and nothing else', () => {
    const { mirror } = uart()
    expect(Object.entries(mirror.values)).toEqual([
      ['2', 0x01],
      ['5', 0x60],
      ['6', 0xb0],
    ])
  })

  it('withdraws each register while its read has a side effect', () => {
    const { mirror, serial, put } = uart()
    serial.sendBreak()
    put(IER, 0x02)
    put(MCR, 0x10)
    expect([mirror.values[IIR], mirror.values[LSR], mirror.values[MSR]]).toEqual([undefined, undefined, undefined])
    serial.read(IIR)
    serial.read(LSR)
    serial.read(MSR)
    expect([mirror.values[IIR], mirror.values[LSR], mirror.values[MSR]]).toEqual([0x01, 0x61, 0x00])
  })
})

describe('Serial under random accesses', () => {
  it('answers in range, calls its line only at changes, and agrees with its mirror', () => {
    const { host, line, mirror, serial } = uart()
    let disagreements = 0
    const tooWide = fuzz(serial, Serial.SIZE, 100_000, random => {
      disturb(host, serial, random)
      disagreements += mirrorDisagreements(serial, mirror, line)
    })
    expect({ tooWide, disagreements, redundant: line.redundant }).toEqual({
      tooWide: 0,
      disagreements: 0,
      redundant: 0,
    })
    expect(line.edges).toBeGreaterThan(1000)
  })
})

/** Something the host does between two accesses of the guest. */
function disturb(host: { open: boolean }, serial: Serial, random: number): void {
  host.open = (random & 0x300) !== 0
  const events = [
    () => serial.receive(new Uint8Array((random >>> 8) & 0x1f)),
    () => serial.sendBreak(),
    () => serial.outputReady(),
  ]
  events[random & 0xf]?.()
}

/** Mirrored registers that read differently from the device, and an interrupt line that IIR does not explain. */
function mirrorDisagreements(serial: Serial, mirror: RecordingMirror, line: RecordingLine): number {
  const mirrored = [IIR, LSR, MSR].filter(register => mirror.values[register] !== undefined)
  const wrong = mirrored.filter(register => serial.read(register) !== mirror.values[register])
  const isIdle = ((mirror.values[IIR] ?? 0) & 1) === 1
  return wrong.length + (isIdle === line.level ? 1 : 0)
}

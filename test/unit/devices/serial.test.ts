import { describe, expect, it } from 'vitest'
import { Serial } from '../../../src/devices/serial.ts'
import { autoconfigure, startupBugs } from './linux-8250.ts'
import { fuzz, RecordingLine, RecordingMirror } from './surroundings.ts'

const RBR = 0
const THR = 0
const IER = 1
const IIR = 2
const FCR = 2
const LCR = 3
const MCR = 4
const LSR = 5
const MSR = 6

/** A UART whose host takes output while `open`, with everything the host sees recorded. */
function uart(options: { autoFlow?: boolean } = {}) {
  const host = { open: true, output: [] as number[], rooms: 0 }
  const line = new RecordingLine()
  const mirror = new RecordingMirror()
  const serial = new Serial({
    interrupt: line,
    mirror,
    sink: byte => host.open && host.output.push(byte) > 0,
    onRoom: () => host.rooms++,
    ...options,
  })
  return { host, line, mirror, serial, put: (register: number, value: number) => serial.write(register, 1, value) }
}

describe('Serial detection', () => {
  it('is a 16550A to Linux, through every variant check', () => {
    const { serial } = uart()
    expect(autoconfigure(serial)).toBe('16550A')
  })

  it('needs none of the workarounds that Linux tests for at startup', () => {
    const { serial } = uart()
    autoconfigure(serial)
    expect(startupBugs(serial)).toEqual([])
  })

  it('survives detection with its registers as before', () => {
    const { serial, put } = uart()
    put(LCR, 0x80)
    put(0, 0x34)
    put(1, 0x12)
    put(LCR, 0x1b)
    autoconfigure(serial)
    expect(serial.read(LCR)).toBe(0x1b)
    put(LCR, 0x80)
    expect([serial.read(0), serial.read(1)]).toEqual([0x34, 0x12])
  })

  it('passes output on that was written before detection only once', () => {
    const { host, serial, put } = uart()
    put(THR, 0x41)
    autoconfigure(serial)
    startupBugs(serial)
    expect(host.output).toEqual([0x41])
  })
})

describe('Serial registers', () => {
  it.each([
    ['IER keeps four bits', IER, 0xff, 0x0f],
    ['LCR keeps all bits', LCR, 0x5b, 0x5b],
    ['MCR keeps five bits', MCR, 0xff, 0x1f],
    ['scratch keeps all bits', 7, 0xa5, 0xa5],
  ])('%s', (_name, register, written, read) => {
    const { serial, put } = uart()
    put(register, written)
    expect(serial.read(register)).toBe(read)
  })

  it.each([
    ['RBR', 0, 0x00],
    ['IER', 1, 0x00],
    ['IIR', 2, 0x01],
    ['LCR', 3, 0x00],
    ['MCR', 4, 0x00],
    ['LSR', 5, 0x60],
    ['MSR', 6, 0xb0],
  ])('powers on with %s at its data sheet value', (_name, register, value) => {
    const { serial } = uart()
    expect(serial.read(register)).toBe(value)
  })

  it('shows the FIFO bits in IIR exactly while the FIFO is on', () => {
    const { serial, put } = uart()
    put(FCR, 0x01)
    const on = serial.read(IIR)
    put(FCR, 0x00)
    expect([on, serial.read(IIR)]).toEqual([0xc1, 0x01])
  })

  it('returns to power-on at reset but does not lose output', () => {
    const { host, line, serial, put } = uart()
    host.open = false
    put(THR, 0x58)
    put(IER, 0x0f)
    put(LCR, 0x83)
    put(MCR, 0x0b)
    serial.receive(Uint8Array.of(1))
    serial.reset()
    host.open = true
    serial.outputReady()
    expect([1, 2, 3, 4, 5].map(register => serial.read(register))).toEqual([0, 1, 0, 0, 0x60])
    expect(line.level).toBe(false)
    expect(host.output).toEqual([0x58])
  })
})

describe('Serial.receive', () => {
  it('takes one byte without a FIFO and 16 with one', () => {
    const { serial, put } = uart()
    expect(serial.receive(new Uint8Array(20))).toBe(1)
    put(FCR, 0x01)
    expect(serial.receive(new Uint8Array(20))).toBe(16)
    expect(serial.receive(new Uint8Array(20))).toBe(0)
  })

  it('hands the bytes over in order and then reads 0', () => {
    const { serial, put } = uart()
    put(FCR, 0x01)
    serial.receive(Uint8Array.of(7, 8, 9))
    expect([0, 1, 2, 3].map(() => serial.read(RBR))).toEqual([7, 8, 9, 0])
  })

  it('asks for more once the guest has emptied the FIFO, and only if something was left over', () => {
    const { host, serial } = uart()
    serial.receive(Uint8Array.of(1))
    serial.read(RBR)
    expect(host.rooms).toBe(0)
    serial.receive(Uint8Array.of(1, 2))
    serial.read(RBR)
    serial.read(RBR)
    expect(host.rooms).toBe(1)
  })

  it('asks for more when the last byte is read, not for each one', () => {
    const { host, serial, put } = uart()
    put(FCR, 0x01)
    serial.receive(new Uint8Array(20))
    for (let i = 0; i < 15; i++) serial.read(RBR)
    expect(host.rooms).toBe(0)
    serial.read(RBR)
    expect(host.rooms).toBe(1)
  })

  it('takes nothing with autoFlow until the guest raises RTS', () => {
    const { host, serial, put } = uart({ autoFlow: true })
    expect(serial.receive(Uint8Array.of(1))).toBe(0)
    put(MCR, 0x02)
    expect(host.rooms).toBe(1)
    expect(serial.receive(Uint8Array.of(1))).toBe(1)
  })

  it('takes nothing in loopback', () => {
    const { serial, put } = uart()
    put(MCR, 0x10)
    expect(serial.receive(Uint8Array.of(1))).toBe(0)
  })

  it.each([
    [0x01, 1, 0xc1],
    [0x41, 4, 0xcc],
    [0x81, 8, 0xcc],
    [0xc1, 14, 0xcc],
  ])('with FCR %i interrupts for data from byte %i on, and for a time-out below', (fcr, trigger, below) => {
    const { serial, put } = uart()
    put(FCR, fcr)
    put(IER, 0x01)
    serial.receive(new Uint8Array(trigger))
    expect(serial.read(IIR)).toBe(0xc4)
    serial.read(RBR)
    expect(serial.read(IIR)).toBe(below)
  })

  it('holds the interrupt line until the last byte is read', () => {
    const { line, serial, put } = uart()
    put(FCR, 0x81)
    put(IER, 0x01)
    serial.receive(Uint8Array.of(1, 2))
    serial.read(RBR)
    expect(line.level).toBe(true)
    serial.read(RBR)
    expect(line.level).toBe(false)
  })

  it('forgets received bytes when the guest clears the FIFO', () => {
    const { serial, put } = uart()
    put(FCR, 0x01)
    serial.receive(Uint8Array.of(1, 2))
    put(FCR, 0x03)
    expect(serial.read(LSR)).toBe(0x60)
  })
})

describe('Serial.sendBreak', () => {
  it('shows a break with its zero byte once, and clears it by the LSR read', () => {
    const { serial, put } = uart()
    put(FCR, 0x01)
    expect(serial.sendBreak()).toBe(true)
    expect(serial.read(LSR)).toBe(0xf1)
    expect(serial.read(LSR)).toBe(0x61)
    expect(serial.read(RBR)).toBe(0)
  })

  it('shows the break only when its byte is next', () => {
    const { serial, put } = uart()
    put(FCR, 0x01)
    serial.receive(Uint8Array.of(0x61))
    serial.sendBreak()
    expect(serial.read(LSR)).toBe(0xe1)
    serial.read(RBR)
    expect(serial.read(LSR)).toBe(0xf1)
  })

  it('interrupts as line status, before received data', () => {
    const { serial, put } = uart()
    put(FCR, 0x01)
    put(IER, 0x05)
    serial.sendBreak()
    expect(serial.read(IIR)).toBe(0xc6)
    serial.read(LSR)
    expect(serial.read(IIR)).toBe(0xc4)
  })

  it('is refused while there is no room', () => {
    const { serial } = uart()
    serial.receive(Uint8Array.of(1))
    expect(serial.sendBreak()).toBe(false)
  })
})

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

import { describe, expect, it } from 'vitest'
import { autoconfigure, startupBugs } from './linux-8250.ts'
import { FCR, IER, IIR, LCR, LSR, MCR, RBR, THR, uart } from './uart.ts'

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

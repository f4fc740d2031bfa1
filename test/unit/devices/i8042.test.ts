import { describe, expect, it } from 'vitest'
import { I8042 } from '../../../src/devices/i8042.ts'
import { probe } from './linux-i8042.ts'
import { fuzz, RecordingLine, RecordingMirror } from './surroundings.ts'

/** A controller on its two ports, with what it does to the outside. */
function controller() {
  const outside = { resets: 0 }
  const keyboardLine = new RecordingLine()
  const auxLine = new RecordingLine()
  const mirror = new RecordingMirror()
  const i8042 = new I8042({
    onReset: () => outside.resets++,
    keyboardInterrupt: keyboardLine,
    auxInterrupt: auxLine,
    mirror,
  })
  return {
    outside,
    keyboardLine,
    auxLine,
    mirror,
    i8042,
    status: () => i8042.command.read(0, 1),
    data: () => i8042.data.read(0, 1),
    command: (value: number) => i8042.command.write(0, 1, value),
    send: (value: number) => i8042.data.write(0, 1, value),
  }
}

describe('I8042 detection', () => {
  it('is a sane controller without an aux port to Linux, which never waits in vain', () => {
    expect(probe(controller().i8042)).toEqual({ controller: 'present', hasAux: false, timeouts: 0 })
  })

  it('lets a guest that is about to reset find the input buffer empty at once', () => {
    const port = controller()
    port.send(0xff)
    expect(port.status() & 0x02).toBe(0)
  })
})

describe('I8042 commands', () => {
  it.each([
    ['self-test', 0xaa, 0x55],
    ['keyboard interface test', 0xab, 0x00],
    ['aux interface test', 0xa9, 0x01],
    ['command byte', 0x20, 0x65],
    ['input port', 0xc0, 0x80],
    ['output port', 0xd0, 0x03],
    ['test port', 0xe0, 0x00],
  ])('answers the %s at once', (_name, command, answer) => {
    const port = controller()
    port.command(command)
    expect(port.status()).toBe(0x1d)
    expect(port.data()).toBe(answer)
    expect(port.status()).toBe(0x1c)
  })

  it('keeps a command byte', () => {
    const port = controller()
    port.command(0x60)
    port.send(0x47)
    port.command(0x20)
    expect(port.data()).toBe(0x47)
  })

  it.each([
    ['keyboard off', 0xad, 0x75],
    ['keyboard on', 0xae, 0x65],
    ['aux off', 0xa7, 0x65],
    ['aux on', 0xa8, 0x45],
  ])('switches %s in the command byte', (_name, command, ctr) => {
    const port = controller()
    port.command(command)
    port.command(0x20)
    expect(port.data()).toBe(ctr)
  })

  it('passes on a byte for the keyboard buffer', () => {
    const port = controller()
    port.command(0xd2)
    port.send(0x1c)
    expect([port.status(), port.data()]).toEqual([0x15, 0x1c])
  })

  it('does not loop aux bytes, so that Linux sees no aux port', () => {
    const port = controller()
    port.command(0xd3)
    port.send(0x5a)
    expect(port.status() & 1).toBe(1)
    expect(port.data()).not.toBe(0x5a)
  })

  it('never shows a full input buffer or a locked keyboard', () => {
    const port = controller()
    const all = Array.from({ length: 256 }, (_, command) => {
      port.command(command)
      return port.status() & 0x12
    })
    expect(new Set(all)).toEqual(new Set([0x10]))
  })
})

describe('I8042 devices that are not there', () => {
  it('answers a byte to the keyboard with a time-out and an interrupt', () => {
    const port = controller()
    port.send(0xf2)
    expect(port.keyboardLine.level).toBe(true)
    expect([port.status(), port.data()]).toEqual([0x55, 0xfe])
    expect([port.status(), port.keyboardLine.level]).toEqual([0x14, false])
  })

  it('enables the keyboard interface to send a byte', () => {
    const port = controller()
    port.command(0xad)
    port.send(0xf2)
    port.command(0x20)
    expect(port.data()).toBe(0x65)
  })

  it('answers a byte to the mouse with a time-out marked as aux', () => {
    const port = controller()
    port.command(0x60)
    port.send(0x03)
    port.command(0xd4)
    port.send(0xf2)
    expect([port.auxLine.level, port.keyboardLine.level]).toEqual([true, false])
    expect([port.status(), port.data()]).toEqual([0x75, 0xfe])
    expect(port.auxLine.level).toBe(false)
  })

  it('stays silent when the command byte disables the interrupt', () => {
    const port = controller()
    port.command(0x60)
    port.send(0x00)
    port.send(0xf2)
    expect(port.keyboardLine.edges).toBe(0)
  })
})

describe('I8042 reset line', () => {
  it.each([
    [0xfe, 1],
    [0xf0, 1],
    [0xff, 0],
    [0xfd, 0],
  ])('after pulse command %i has asked %i times', (command, resets) => {
    const port = controller()
    port.command(command)
    expect(port.outside.resets).toBe(resets)
  })

  it.each([
    [0x02, 1],
    [0x03, 0],
    [0x01, 0],
  ])('after output port value %i has asked %i times', (value, resets) => {
    const port = controller()
    port.command(0xd1)
    port.send(value)
    expect(port.outside.resets).toBe(resets)
  })
})

describe('I8042.reset', () => {
  it('returns to power-on and lets the lines fall', () => {
    const port = controller()
    port.send(0xf2)
    port.command(0x60)
    port.i8042.reset()
    expect([port.status(), port.keyboardLine.level]).toEqual([0x14, false])
    port.send(0x00)
    port.command(0x20)
    expect(port.data()).toBe(0x65)
  })
})

describe('I8042 under random accesses', () => {
  it('answers in range, calls its lines only at changes, and mirrors its status', () => {
    const { i8042, keyboardLine, auxLine, mirror, status } = controller()
    let stale = 0
    const ports = {
      accessSize: 1 as const,
      read: (offset: number) => [i8042.data, i8042.command][offset]!.read(0, 1),
      write: (offset: number, size: number, value: number) =>
        [i8042.data, i8042.command][offset]!.write(0, size, value),
    }
    const tooWide = fuzz(ports, 2, 100_000, () => {
      stale += Number(mirror.values[0] !== status())
    })
    expect({ tooWide, stale, redundant: keyboardLine.redundant + auxLine.redundant }).toEqual({
      tooWide: 0,
      stale: 0,
      redundant: 0,
    })
    expect(keyboardLine.edges).toBeGreaterThan(100)
  })
})

import { describe, expect, it } from 'vitest'
import { Bus } from '../../../src/bus/bus.ts'
import { loggedHandler, PciMachine, testEndpoint } from '../../support/pci-machine.ts'

const ABSENT = 0xffff_ffff

describe('RootComplex.add', () => {
  it('has a host bridge at 00:00.0 and plugs functions in behind it', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint())
    machine.complex.add(testEndpoint({ deviceId: 2 }), { device: 7 })
    machine.complex.add(testEndpoint({ deviceId: 3 }))
    expect([0, 1, 2, 3, 7].map(device => machine.read(0, device, 0, 4))).toEqual([
      0x0008_1b36,
      0x5678_1234,
      0x0003_1234,
      ABSENT,
      0x0002_1234,
    ])
    expect(machine.read(0, 0, 0x08, 4)).toBe(0x0600_0000)
  })

  it('marks all functions of a device with several, and no others', () => {
    const { complex } = new PciMachine()
    complex.add(testEndpoint(), { device: 3 })
    complex.add(testEndpoint(), { device: 3, function: 5 })
    complex.add(testEndpoint(), { device: 4 })
    const types = [3 << 3, (3 << 3) | 5, 4 << 3].map(devfn => complex.root.readConfig(0, devfn, 0x0e, 1))
    expect(types).toEqual([0x80, 0x80, 0])
    expect(complex.root.readConfig(0, 3 << 3, 0x0c, 4)).toBe(0x0080_0000)
    expect(complex.root.readConfig(0, 3 << 3, 0x0d, 1)).toBe(0)
  })

  it('asks a function only for aligned accesses', () => {
    const { complex } = new PciMachine()
    const asked: string[] = []
    const { read, write } = loggedHandler(asked)
    complex.add({
      name: 'test',
      bars: [],
      attach() {},
      readConfig: read,
      writeConfig: write,
      reset() {},
      close() {},
    })
    complex.root.readConfig(0, 8, 0x41, 2)
    complex.root.writeConfig(0, 8, 0x42, 4, 0x8765_4321)
    complex.root.readConfig(0, 8, 0x44, 4)
    expect(asked).toEqual(['r41:1', 'r42:1', 'w42:1=21', 'w43:1=43', 'w44:1=65', 'w45:1=87', 'r44:4'])
  })

  it.each([
    ['a taken place', { device: 0 }, '0.0 is free'],
    ['a device number of 32', { device: 32 }, 'a device number'],
    ['a function number of 8', { device: 1, function: 8 }, 'a function number'],
  ])('refuses %s', (_name, position, message) => {
    expect(() => new PciMachine().complex.add(testEndpoint(), position)).toThrow(message)
  })

  it('refuses a thirty-third device', () => {
    const { complex } = new PciMachine()
    Array.from({ length: 31 }, () => complex.add(testEndpoint()))
    expect(() => complex.add(testEndpoint())).toThrow('free device number')
  })
})

describe('RootComplex.reset', () => {
  it('resets the functions and the configuration address', () => {
    const machine = new PciMachine()
    const resets: string[] = []
    machine.complex.add(testEndpoint({ onReset: () => resets.push('reset') }))
    machine.ports.write(0xcf8, 4, 0x8000_0800)
    machine.complex.reset()
    expect(resets).toEqual(['reset'])
    expect(machine.ports.read(0xcf8, 4)).toBe(0)
  })
})

describe('ConfigPorts', () => {
  it.each([
    ['the identity', 0x8000_0800, 0xcfc, 4, 0x5678_1234],
    ['a word of it', 0x8000_0800, 0xcfe, 2, 0x5678],
    ['a byte of it', 0x8000_0800, 0xcfd, 1, 0x12],
    ['an odd word of it', 0x8000_0800, 0xcfd, 2, 0x7812],
    ['an absent device', 0x8000_1000, 0xcfc, 4, ABSENT],
    ['a byte of an absent device', 0x8000_1000, 0xcfc, 1, 0xff],
    ['an absent function', 0x8000_0900, 0xcfc, 4, ABSENT],
    ['an absent bus', 0x8001_0800, 0xcfc, 4, ABSENT],
    ['a disabled address', 0x0000_0800, 0xcfc, 4, ABSENT],
  ])('reads %s', (_name, address, port, size, value) => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint())
    machine.ports.write(0xcf8, 4, address)
    expect(machine.ports.read(port, size)).toBe(value)
  })

  it('writes bytes, words and dwords of a register', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint())
    machine.ports.write(0xcf8, 4, 0x8000_0804)
    machine.ports.write(0xcfd, 1, 0x04)
    expect(machine.read(0, 1, 0x04, 2)).toBe(0x0400)
    machine.ports.write(0xcfc, 2, 0x0002)
    expect(machine.read(0, 1, 0x04, 2)).toBe(0x0002)
    machine.ports.write(0xcf8, 4, 0x0000_0804)
    machine.ports.write(0xcfc, 2, 0)
    expect(machine.read(0, 1, 0x04, 2)).toBe(0x0002)
  })

  it('takes only dwords for the address, without its reserved bits', () => {
    const { ports } = new PciMachine()
    ports.write(0xcf8, 4, ABSENT)
    expect(ports.read(0xcf8, 4)).toBe(0x80ff_fffc)
    ports.write(0xcf8, 2, 0)
    ports.write(0xcfb, 1, 1)
    expect(ports.read(0xcf8, 4)).toBe(0x80ff_fffc)
    expect([ports.read(0xcf8, 1), ports.read(0xcfa, 2)]).toEqual([0xff, 0xffff])
  })

  it.each([
    ['a soft reset', [0x04], 1],
    ['a hard reset as Linux asks for it', [0x02, 0x06], 1],
    ['the bit written twice', [0x06, 0x06], 1],
    ['the bit cleared in between', [0x06, 0x02, 0x06], 2],
    ['no reset bit', [0x02, 0x0a], 0],
  ])('counts at port 0xcf9 %s', (_name, values, resets) => {
    const machine = new PciMachine()
    values.forEach(value => {
      machine.ports.write(0xcf9, 1, value)
    })
    expect(machine.resets).toBe(resets)
    expect(machine.ports.read(0xcf9, 1)).toBe(values.at(-1))
  })
})

describe('Ecam', () => {
  const START = 0xe000_0000
  function machineWithEcam() {
    const machine = new PciMachine()
    const bus = new Bus('mmio')
    bus.add({ name: 'ecam', start: START, size: machine.complex.ecam.size }, machine.complex.ecam)
    machine.complex.add(testEndpoint())
    return { machine, bus }
  }

  it.each([
    ['the identity', 0x8000, 4, 0x5678_1234],
    ['a word', 0x8002, 2, 0x5678],
    ['a byte', 0x8001, 1, 0x12],
    ['an unaligned word', 0x8001, 2, 0x7812],
    ['an unaligned dword', 0x8002, 4, 0x0000_5678],
    ['the last dword of the function', 0x8ffc, 4, 0],
    ['an absent function', 0x9000, 4, ABSENT],
    ['over the end into an absent function', 0x8ffe, 4, 0xffff_0000],
    ['the last bus', 0xfff_fffc, 4, ABSENT],
    ['a qword', 0x8000, 8, 0x0010_0000_5678_1234],
  ])('reads %s', (_name, offset, size, value) => {
    expect(machineWithEcam().bus.read(START + offset, size)).toBe(value)
  })

  it('writes, in pieces where it has to', () => {
    const { machine, bus } = machineWithEcam()
    bus.write(START + 0x8003, 4, 0x0005_4600)
    expect(machine.read(0, 1, 0x04, 2)).toBe(0x0546)
    bus.write(START + 0x8004, 2, 0)
    expect(machine.read(0, 1, 0x04, 2)).toBe(0)
    bus.write(START + 0x8ffe, 4, ABSENT)
    expect(machine.read(0, 1, 0xffc, 4)).toBe(0)
  })

  it('covers 256 buses', () => {
    expect(new PciMachine().complex.ecam.size).toBe(2 ** 28)
  })
})

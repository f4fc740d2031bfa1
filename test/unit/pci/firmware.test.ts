import { describe, expect, it } from 'vitest'
import { placeFunctions } from '../../../src/pci/firmware.ts'
import { createRootPort } from '../../../src/pci/root-port.ts'
import { HIGH_WINDOW, LOW_WINDOW, PciMachine, testBar, testEndpoint } from '../../support/pci-machine.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30

function start(machine: PciMachine): void {
  placeFunctions(machine.complex.root, {
    low: LOW_WINDOW,
    high: HIGH_WINDOW,
    interruptLine: (device, pin) => device * 10 + pin,
    debug: message => machine.log.push(message),
  })
}

describe('placeFunctions', () => {
  it('places BARs by descending size and switches decoding on', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint({ bars: [testBar()] }))
    machine.complex.add(testEndpoint({ bars: [testBar({ size: MIB }), testBar({ index: 2, kind: 'memory64' })] }))
    start(machine)
    expect(machine.mapped).toEqual([0xc000_0000, 0xc010_0000, 0xc010_1000])
    expect([machine.read(0, 2, 0x10, 4), machine.read(0, 1, 0x10, 4)]).toEqual([0xc000_0000, 0xc010_0000])
    expect([machine.read(0, 0, 0x04, 2), machine.read(0, 1, 0x04, 2)]).toEqual([0, 2])
  })

  it('places large 64-bit BARs above 4 GiB', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint({ bars: [testBar({ size: GIB, kind: 'memory64' }), testBar({ index: 2 })] }))
    start(machine)
    expect(machine.mapped).toEqual([0xc000_0000, HIGH_WINDOW.start])
    expect([machine.read(0, 1, 0x10, 4), machine.read(0, 1, 0x14, 4)]).toEqual([4, 0x80])
  })

  it('leaves out what has no room, with a line about it', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint({ name: 'big', bars: [testBar({ size: GIB })] }))
    machine.complex.add(testEndpoint({ bars: [testBar()] }))
    start(machine)
    expect(machine.mapped).toEqual([0xc000_0000])
    expect(machine.log[0]).toBe('pci: no room for BAR 0 of big; the guest has to place it')
  })

  it('numbers buses depth first and opens the windows of ports', () => {
    const machine = new PciMachine()
    const ports = [machine.complex.addPort(), machine.complex.addPort(), machine.complex.addPort()]
    const large = testBar({ index: 2, size: GIB, kind: 'memory64', prefetchable: true })
    machine.complex.add(testEndpoint({ bars: [testBar({ size: 2 * MIB }), large] }), { port: ports[0]! })
    machine.complex.add(testEndpoint({ bars: [testBar()] }), { port: ports[2]! })
    start(machine)
    expect([1, 2, 3].map(device => machine.read(0, device, 0x18, 4))).toEqual([0x01_0100, 0x02_0200, 0x03_0300])
    expect([1, 2, 3].map(device => machine.read(0, device, 0x20, 4))).toEqual([0xc010_c000, 0x0000_fff0, 0xc020_c020])
    expect(machine.read(0, 1, 0x24, 4)).toBe(0x3ff1_0001)
    expect([machine.read(0, 1, 0x28, 4), machine.read(0, 1, 0x2c, 4)]).toEqual([0x80, 0x80])
    expect(machine.read(0, 2, 0x24, 4)).toBe(0x0001_fff1)
    expect(machine.mapped).toEqual([0xc000_0000, 0xc020_0000, HIGH_WINDOW.start])
    expect(machine.read(0, 1, 0x04, 2)).toBe(6)
  })

  it('leads to every bus it numbered', () => {
    const machine = new PciMachine()
    const ports = [1, 2, 3].map(() => machine.complex.addPort())
    ports.forEach((port, i) => {
      machine.complex.add(testEndpoint({ deviceId: i + 1 }), { port })
    })
    start(machine)
    expect([1, 2, 3].map(bus => machine.read(bus, 0, 2, 2))).toEqual([1, 2, 3])
  })

  it('aligns what stands behind a window of an odd size', () => {
    const machine = new PciMachine()
    const port = machine.complex.addPort()
    machine.complex.add(testEndpoint({ bars: [testBar({ size: 4 * MIB }), testBar({ index: 1 })] }), { port })
    machine.complex.add(testEndpoint({ bars: [testBar({ size: 4 * MIB })] }))
    start(machine)
    expect(machine.mapped).toEqual([0xc000_0000, 0xc040_0000, 0xc080_0000])
  })

  it('does so below a port, too', () => {
    const machine = new PciMachine()
    const upper = machine.complex.addPort()
    const lower = createRootPort('lower', 9)
    upper.bus.add(lower)
    upper.bus.add(testEndpoint({ bars: [testBar({ size: 4 * MIB })] }), { device: 0, function: 1 })
    lower.bus.add(testEndpoint({ bars: [testBar({ size: 4 * MIB }), testBar({ index: 1 })] }))
    start(machine)
    expect(machine.mapped).toEqual([0xc000_0000, 0xc040_0000, 0xc080_0000])
  })

  it('keeps large BARs that are not prefetchable in the low window of their port', () => {
    const machine = new PciMachine()
    const port = machine.complex.addPort()
    machine.complex.add(testEndpoint({ bars: [testBar({ size: 128 * MIB, kind: 'memory64' })] }), { port })
    start(machine)
    expect(machine.mapped).toEqual([0xc000_0000])
    expect(machine.read(0, 1, 0x20, 4)).toBe(0xc7f0_c000)
  })

  it('fills in interrupt lines, turned below ports', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint({ interruptPin: 2 }))
    const port = machine.complex.addPort()
    machine.complex.add(testEndpoint({ interruptPin: 4 }), { port })
    start(machine)
    expect([machine.read(0, 0, 0x3c, 1), machine.read(0, 1, 0x3c, 1)]).toEqual([0, 12])
    expect([machine.read(0, 2, 0x3c, 1), machine.read(1, 0, 0x3c, 1)]).toEqual([21, 24])
  })

  it('does the same again after a reset', () => {
    const machine = new PciMachine()
    machine.complex.add(testEndpoint({ bars: [testBar()] }), { port: machine.complex.addPort() })
    start(machine)
    const before = machine.mapped
    machine.complex.reset()
    expect(machine.mapped).toEqual([])
    start(machine)
    expect(machine.mapped).toEqual(before)
  })
})

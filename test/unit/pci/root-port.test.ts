import { describe, expect, it } from 'vitest'
import type { BridgeFunction } from '../../../src/pci/bridge-function.ts'
import { createRootPort } from '../../../src/pci/root-port.ts'
import { capabilities, PciMachine, testBar, testEndpoint } from '../../support/pci-machine.ts'

const COMMAND = 0x04
const MEMORY = 2

/** A port as 00:01.0, number 5 below it, and an endpoint there. */
function machineWithPort() {
  const machine = new PciMachine()
  const port = machine.complex.addPort()
  const resets: string[] = []
  const endpoint = testEndpoint({
    bars: [testBar({ kind: 'memory64' })],
    msix: { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 },
    interruptPin: 1,
    host: machine.host,
    onReset: () => resets.push('reset'),
  })
  machine.complex.add(endpoint, { port })
  machine.write(0, 1, 0x18, 4, 0x0006_0500)
  return { machine, port, endpoint, resets }
}

describe('createRootPort', () => {
  it('is a bridge with a slot, which guests tell by class and header', () => {
    const { machine, port } = machineWithPort()
    const at = capabilities(port).get(0x10) ?? 0
    expect([0x00, 0x08, 0x0c].map(offset => machine.read(0, 1, offset, 4))).toEqual([
      0x000c_1b36, 0x0604_0000, 0x0001_0000,
    ])
    expect(port.readConfig(at + 2, 2)).toBe(0x0142)
    expect(port.readConfig(at + 0x14, 4)).toBe(1 << 19)
  })

  it('tells whether something is plugged in', () => {
    const { port } = machineWithPort()
    const empty = createRootPort('port', 2)
    const at = capabilities(port).get(0x10) ?? 0
    const state = (of: BridgeFunction) => [of.readConfig(at + 0x12, 2), of.readConfig(at + 0x1a, 2)]
    expect(state(port)).toEqual([0x2103, 0x40])
    expect(state(empty)).toEqual([0x0103, 0])
  })

  it('offers access control services that start off', () => {
    const { port } = machineWithPort()
    expect(port.readConfig(0x100, 4)).toBe(0x0001_000d)
    expect(port.readConfig(0x104, 4)).toBe(0x001f)
    port.writeConfig(0x106, 2, 0xffff)
    expect(port.readConfig(0x104, 4)).toBe(0x001f_001f)
  })

  it.each([
    ['BARs', 0x10, 4, 0],
    ['bus numbers', 0x18, 4, 0x00ff_ffff],
    ['the I/O window', 0x1c, 2, 0],
    ['the memory window', 0x20, 4, 0xfff0_fff0],
    ['the prefetchable window', 0x24, 4, 0xfff1_fff1],
    ['its upper base', 0x28, 4, 0xffff_ffff],
    ['its upper limit', 0x2c, 4, 0xffff_ffff],
    ['the I/O upper halves', 0x30, 4, 0],
    ['bridge control', 0x3e, 2, 0x0043],
  ])('has of %s the writable bits', (_name, offset, size, value) => {
    const port = createRootPort('port', 1)
    port.writeConfig(offset, size, 0xffff_ffff)
    expect(port.readConfig(offset, size)).toBe(value)
  })

  it('leads configuration accesses of its bus to its one device, by whatever number', () => {
    const { machine } = machineWithPort()
    expect([4, 5, 6, 7].map(bus => machine.read(bus, 0, 0, 4))).toEqual([
      0xffff_ffff, 0x5678_1234, 0xffff_ffff, 0xffff_ffff,
    ])
    expect(machine.read(5, 1, 0, 4)).toBe(0xffff_ffff)
    machine.write(0, 1, 0x19, 1, 6)
    expect([machine.read(5, 0, 0, 4), machine.read(6, 0, 0, 4)]).toEqual([0xffff_ffff, 0x5678_1234])
  })

  it('takes no second device', () => {
    const { machine, port } = machineWithPort()
    expect(() => machine.complex.add(testEndpoint(), { port })).toThrow('free device number')
  })

  it('gives what is below a requester ID of its own bus', () => {
    const { machine, endpoint } = machineWithPort()
    expect(endpoint.requesterId).toBe(0x500)
    machine.write(0, 1, 0x19, 1, 0x42)
    expect([endpoint.requesterId, machine.host.vectors[0]?.requester()]).toEqual([0x4200, 0x4200])
  })

  it('leads memory accesses down through the memory window', () => {
    const { machine } = machineWithPort()
    machine.write(5, 0, 0x10, 4, 0xc020_0000)
    machine.write(5, 0, COMMAND, 2, MEMORY)
    machine.write(0, 1, 0x20, 4, 0xc020_c020)
    expect(machine.mapped).toEqual([])
    machine.write(0, 1, COMMAND, 2, MEMORY)
    expect(machine.mapped).toEqual([0xc020_0000])
    machine.write(0, 1, 0x20, 2, 0xc030)
    expect(machine.mapped).toEqual([])
  })

  it('leads nothing down that is only partly in its window', () => {
    const machine = new PciMachine()
    const port = machine.complex.addPort()
    machine.complex.add(testEndpoint({ bars: [testBar({ size: 2 ** 21 })] }), { port })
    machine.write(0, 1, 0x18, 4, 0x0006_0500)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.write(0, 1, 0x20, 4, 0xc000_c000)
    machine.write(5, 0, 0x10, 4, 0xc000_0000)
    machine.write(5, 0, COMMAND, 2, MEMORY)
    expect(machine.mapped).toEqual([])
    machine.write(0, 1, 0x20, 4, 0xc010_c000)
    expect(machine.mapped).toEqual([0xc000_0000])
    machine.write(0, 1, 0x20, 4, 0xc010_c010)
    expect(machine.mapped).toEqual([])
  })

  it('leads memory accesses down through the 64-bit prefetchable window', () => {
    const { machine } = machineWithPort()
    machine.write(5, 0, 0x10, 4, 0x0010_0000)
    machine.write(5, 0, 0x14, 4, 0x80)
    machine.write(5, 0, COMMAND, 2, MEMORY)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    machine.write(0, 1, 0x24, 4, 0x0010_0010)
    expect(machine.mapped).toEqual([])
    machine.write(0, 1, 0x28, 4, 0x80)
    machine.write(0, 1, 0x2c, 4, 0x80)
    expect(machine.mapped).toEqual([0x80_0010_0000])
  })

  it('leads nowhere outside the windows of the root complex', () => {
    const { machine } = machineWithPort()
    machine.write(5, 0, 0x10, 4, 0x1000_0000)
    machine.write(5, 0, COMMAND, 2, MEMORY)
    machine.write(0, 1, 0x20, 4, 0xfff0_0000)
    machine.write(0, 1, COMMAND, 2, MEMORY)
    expect(machine.mapped).toEqual([])
  })

  it('passes interrupt pins on, turned by the device number', () => {
    const { machine, endpoint, port } = machineWithPort()
    endpoint.setInterrupt(true)
    expect([...machine.host.lines].map(([key, line]) => [key, line.level])).toEqual([['1.1', true]])
    expect(port.readConfig(0x3d, 1)).toBe(1)
  })

  it('resets what is below once each time its reset bit is set', () => {
    const { machine, resets } = machineWithPort()
    machine.write(0, 1, 0x3e, 2, 0x40)
    machine.write(0, 1, 0x3e, 2, 0x43)
    expect(resets.length).toBe(1)
    machine.write(0, 1, 0x3e, 2, 0)
    machine.write(0, 1, 0x3e, 1, 0x40)
    expect(resets.length).toBe(2)
    expect(machine.read(0, 1, 0x18, 4)).toBe(0x0006_0500)
  })

  it('is at power-on after a reset, and so is what is below', () => {
    const { machine, port, resets } = machineWithPort()
    port.reset()
    expect(machine.read(0, 1, 0x18, 4)).toBe(0)
    expect(resets).toEqual(['reset'])
  })

  it('can be below another port, and pins turn at both', () => {
    const { complex, ...machine } = new PciMachine()
    const upper = complex.addPort({ device: 2 })
    const lower = createRootPort('lower', 9)
    const endpoint = testEndpoint({ interruptPin: 4, host: machine.host, bars: [testBar()] })
    upper.bus.add(lower)
    lower.bus.add(endpoint)
    complex.root.writeConfig(0, 2 << 3, 0x18, 4, 0x0002_0100)
    complex.root.writeConfig(1, 0, 0x18, 4, 0x0002_0201)
    endpoint.setInterrupt(true)
    expect(complex.root.readConfig(2, 0, 0, 4)).toBe(0x5678_1234)
    expect(endpoint.requesterId).toBe(0x200)
    expect(machine.host.lines.get('2.4')?.level).toBe(true)
  })
})

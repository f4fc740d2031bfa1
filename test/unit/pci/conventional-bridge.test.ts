import { describe, expect, it } from 'vitest'
import { createConventionalBridge } from '../../../src/pci/conventional-bridge.ts'
import { placeFunctions } from '../../../src/pci/firmware.ts'
import { capabilities, HIGH_WINDOW, LOW_WINDOW, PciMachine, testBar, testEndpoint } from '../../support/pci-machine.ts'

const PCI_EXPRESS = 0x10
/** PCI Express capability: version 2, a bridge from PCI Express to PCI. */
const BRIDGE_FLAGS = 0x0072

/** A bridge as 00:01.0 with three endpoints below, after firmware: bus 1. */
function machineWithBridge() {
  const machine = new PciMachine()
  const { complex, host } = machine
  const bridge = complex.addBridge()
  const resets: number[] = []
  const endpoints = [0, 1, 2].map(index => {
    const endpoint = testEndpoint({
      deviceId: 0x100 + index,
      bars: [testBar({ kind: 'memory64' })],
      msix: { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 },
      interruptPin: 1,
      host,
      onReset: () => resets.push(index),
    })
    complex.add(endpoint, { port: bridge })
    return endpoint
  })
  const start = () =>
    placeFunctions(complex.root, { low: LOW_WINDOW, high: HIGH_WINDOW, interruptLine: device => device })
  start()
  return { machine, bridge, endpoints, resets, start }
}

describe('createConventionalBridge', () => {
  it('is a bridge from PCI Express to PCI, which guests tell by class and capability', () => {
    const { machine, bridge } = machineWithBridge()
    const at = capabilities(bridge).get(PCI_EXPRESS) ?? 0
    expect([0x00, 0x08, 0x0c].map(offset => machine.read(0, 1, offset, 4))).toEqual([
      0x000e_1b36, 0x0604_0000, 0x0001_0000,
    ])
    expect(bridge.readConfig(at + 2, 2)).toBe(BRIDGE_FLAGS)
  })

  it('has an up link with the speed and width of the others', () => {
    const { bridge } = machineWithBridge()
    const at = capabilities(bridge).get(PCI_EXPRESS) ?? 0
    expect(bridge.readConfig(at + 0x12, 2)).toBe(0x0103)
  })

  it.each([
    ['bus numbers', 0x18, 4, 0xffff_ffff],
    ['the memory window', 0x20, 4, 0xfff0_fff0],
    ['the prefetchable window', 0x24, 4, 0xfff1_fff1],
    ['bridge control', 0x3e, 2, 0x0043],
    ['the interrupt pin', 0x3d, 1, 0],
  ])('has of %s the writable bits', (_name, offset, size, value) => {
    const bridge = createConventionalBridge('bridge')
    bridge.writeConfig(offset, size, 0xffff_ffff)
    expect(bridge.readConfig(offset, size)).toBe(value)
  })

  it('has 32 devices below, next to each other', () => {
    const machine = new PciMachine()
    const bridge = machine.complex.addBridge()
    for (let i = 0; i < 32; i++) machine.complex.add(testEndpoint({ deviceId: i }), { port: bridge })
    machine.write(0, 1, 0x18, 4, 0x0001_0100)
    expect([0, 1, 31].map(device => machine.read(1, device, 2, 2))).toEqual([0, 1, 31])
    expect(() => machine.complex.add(testEndpoint(), { port: bridge })).toThrow('free device number')
  })

  it('gives all requests from below one requester ID, by the number of its bus', () => {
    const { machine, endpoints, start } = machineWithBridge()
    expect(endpoints.map(({ requesterId }) => requesterId)).toEqual([0x100, 0x108, 0x110])
    expect(machine.host.vectors.map(vector => vector.requester())).toEqual([0x100, 0x100, 0x100])
    machine.write(0, 1, 0x18, 4, 0x0007_0700)
    expect(machine.host.vectors.map(vector => vector.requester())).toEqual([0x700, 0x700, 0x700])
    start()
    expect(machine.host.vectors.map(vector => vector.requester())).toEqual([0x100, 0x100, 0x100])
  })

  it('makes conventional functions of what is below: no PCI Express, no extended configuration space', () => {
    const { machine, endpoints } = machineWithBridge()
    expect(endpoints.map(endpoint => capabilities(endpoint).has(PCI_EXPRESS))).toEqual([false, false, false])
    expect(machine.read(1, 1, 0xfc, 4)).toBe(0)
    expect(machine.read(1, 1, 0x100, 4)).toBe(0xffff_ffff)
    expect(machine.read(0, 1, 0x100, 4)).toBe(0)
  })

  it('leads memory accesses down through its window', () => {
    const { machine } = machineWithBridge()
    machine.write(1, 0, 0x04, 2, 2)
    expect(machine.mapped).toEqual([0xc000_0000, 0xc000_1000, 0xc000_2000])
    machine.write(0, 1, 0x20, 4, 0x0000_fff0)
    expect(machine.mapped).toEqual([])
  })

  it('passes interrupt pins on, turned by the device number', () => {
    const { machine, endpoints } = machineWithBridge()
    endpoints[0]?.setInterrupt(true)
    endpoints[2]?.setInterrupt(true)
    expect([...machine.host.lines].map(([key, line]) => [key, line.level])).toEqual([
      ['1.1', true],
      ['1.2', false],
      ['1.3', true],
    ])
  })

  it('resets what is below when its reset bit is set, and with itself', () => {
    const { machine, bridge, resets } = machineWithBridge()
    machine.write(0, 1, 0x3e, 2, 0x40)
    expect(resets).toEqual([0, 1, 2])
    bridge.reset()
    expect(resets).toEqual([0, 1, 2, 0, 1, 2])
  })
})

import { describe, expect, it } from 'vitest'
import type { EndpointOptions } from '../../../src/pci/endpoint.ts'
import { capabilities, PciMachine, testBar, testEndpoint } from '../../support/pci-machine.ts'

const COMMAND = 0x04
const STATUS = 0x06
const INTX_DISABLE = 0x400
const MASTER = 4

/** An endpoint as device 1 of a machine. */
function plugged(change: Partial<EndpointOptions> = {}) {
  const machine = new PciMachine()
  const endpoint = testEndpoint({ host: machine.host, ...change })
  machine.complex.add(endpoint)
  return { machine, endpoint, line: machine.host.lines.get('1.1') }
}

describe('PciEndpoint', () => {
  it('shows its identity', () => {
    const { machine } = plugged({ subsystemVendorId: 0x1af4, subsystemId: 0x1100, interruptPin: 3 })
    expect([0, 8, 0x2c, 0x3c].map(at => machine.read(0, 1, at, 4))).toEqual([
      0x5678_1234, 0xff01_0209, 0x1100_1af4, 0x300,
    ])
    expect(machine.read(0, 1, 0x0e, 1)).toBe(0)
  })

  it('has its own identity for a subsystem if it has no other', () => {
    expect(plugged().machine.read(0, 1, 0x2c, 4)).toBe(0x5678_1234)
  })

  it.each([
    ['identity', 0x00, 4, 0x5678_1234],
    ['command', 0x04, 2, 0x0546],
    ['status', 0x06, 2, 0x0010],
    ['class and revision', 0x08, 4, 0xff01_0209],
    ['cache line size', 0x0c, 1, 0xff],
    ['header type', 0x0e, 1, 0],
    ['interrupt line', 0x3c, 1, 0xff],
    ['interrupt pin', 0x3d, 1, 0],
    ['capability pointer', 0x34, 1, 0x40],
  ])('takes in its %s register only what is writable', (_name, offset, size, value) => {
    const { machine } = plugged()
    machine.write(0, 1, offset, size, 0xffff_ffff)
    expect(machine.read(0, 1, offset, size)).toBe(value)
  })

  it.each([
    ['root complex integrated endpoint without a link', 0, 0x0092, 0, 0],
    ['endpoint with a link below a port', 1, 0x0002, 0x103, 0x103],
  ])('is a PCI Express %s', (_name, bus, flags, capability, status) => {
    const machine = new PciMachine()
    const endpoint = testEndpoint({ host: machine.host })
    machine.complex.add(endpoint, { ...[{}, { port: machine.complex.addPort() }][bus] })
    const at = capabilities(endpoint).get(0x10) ?? 0
    expect(endpoint.readConfig(at + 2, 2)).toBe(flags)
    expect(endpoint.readConfig(at + 0x0c, 4)).toBe(capability)
    expect(endpoint.readConfig(at + 0x12, 2)).toBe(status)
  })

  it('takes of the device control register what a driver may choose', () => {
    const { endpoint } = plugged()
    const at = (capabilities(endpoint).get(0x10) ?? 0) + 8
    expect(endpoint.readConfig(at, 4)).toBe(0x2810)
    endpoint.writeConfig(at, 4, 0xffff_7fff)
    expect(endpoint.readConfig(at, 4)).toBe(0x781f)
  })

  it('lists the capabilities given first, in their order', () => {
    const { endpoint } = plugged({
      bars: [testBar()],
      capabilities: [{ bytes: new Uint8Array([9, 0, 4, 1]) }, { bytes: new Uint8Array([5, 0, 0, 0]) }],
      msix: { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 },
    })
    expect([...capabilities(endpoint).keys()]).toEqual([9, 5, 0x11, 0x10])
  })

  it.each([
    ['without its BAR', { msix: { vectors: 1, bar: 1, tableOffset: 0, pbaOffset: 0x800 } }, 'has its BAR'],
    ['beyond its BAR', { msix: { vectors: 1, bar: 0, tableOffset: 0x1000, pbaOffset: 0 } }, 'fits its BAR'],
    ['over its pending bits', { msix: { vectors: 2, bar: 0, tableOffset: 0, pbaOffset: 16 } }, 'do not overlap'],
    ['at an odd place', { msix: { vectors: 1, bar: 0, tableOffset: 4, pbaOffset: 0x800 } }, 'multiples of 8'],
    ['of no vectors', { msix: { vectors: 0, bar: 0, tableOffset: 0, pbaOffset: 0x800 } }, '1 to 2048'],
  ])('refuses an MSI-X table %s', (_name, change, message) => {
    expect(() => testEndpoint({ bars: [testBar()], ...change })).toThrow(message)
  })

  it('is plugged in once', () => {
    const { machine, endpoint } = plugged()
    expect(() => machine.complex.add(endpoint)).toThrow('plugged in once')
  })
})

describe('PciEndpoint.setInterrupt', () => {
  it('raises and lowers the line at changes only, and shows it in the status register', () => {
    const { machine, endpoint, line } = plugged({ interruptPin: 1 })
    endpoint.setInterrupt(true)
    endpoint.setInterrupt(true)
    expect(machine.read(0, 1, STATUS, 2)).toBe(0x18)
    endpoint.setInterrupt(false)
    expect(machine.read(0, 1, STATUS, 2)).toBe(0x10)
    expect(line?.levels).toEqual([true, false])
  })

  it('is silent while the command register disables it, but not in the status register', () => {
    const { machine, endpoint, line } = plugged({ interruptPin: 1 })
    machine.write(0, 1, COMMAND, 2, INTX_DISABLE)
    endpoint.setInterrupt(true)
    expect(line?.levels).toEqual([])
    expect(machine.read(0, 1, STATUS, 2)).toBe(0x18)
    machine.write(0, 1, COMMAND, 2, 0)
    machine.write(0, 1, COMMAND, 2, INTX_DISABLE)
    expect(line?.levels).toEqual([true, false])
  })

  it('is silent while MSI-X is on', () => {
    const { machine, endpoint, line } = plugged({
      bars: [testBar()],
      msix: { vectors: 1, bar: 0, tableOffset: 0, pbaOffset: 0x800 },
      interruptPin: 1,
    })
    const control = (capabilities(endpoint).get(0x11) ?? 0) + 2
    endpoint.setInterrupt(true)
    expect(endpoint.usesMsix).toBe(false)
    machine.write(0, 1, control, 2, 0x8000)
    expect(endpoint.usesMsix).toBe(true)
    machine.write(0, 1, control, 2, 0)
    expect(line?.levels).toEqual([true, false, true])
  })

  it('is harmless for a function without a pin', () => {
    const { machine, endpoint } = plugged()
    endpoint.setInterrupt(true)
    expect(machine.host.lines.size).toBe(0)
  })
})

describe('PciEndpoint.isBusMaster', () => {
  it('follows the command register, and tells the device of changes', () => {
    const told: boolean[] = []
    const { machine, endpoint } = plugged({ onBusMaster: allowed => told.push(allowed) })
    expect(endpoint.isBusMaster).toBe(false)
    machine.write(0, 1, COMMAND, 2, MASTER)
    machine.write(0, 1, COMMAND, 2, MASTER | INTX_DISABLE)
    expect(endpoint.isBusMaster).toBe(true)
    machine.write(0, 1, COMMAND, 1, 0)
    expect(told).toEqual([true, false])
  })
})

describe('PciEndpoint.reset', () => {
  /** A decoding endpoint with its pin high, and how often it was reset. */
  function busyEndpoint() {
    const resets: string[] = []
    const places: (number | undefined)[] = []
    const bars = [testBar({ onMap: address => places.push(address) })]
    const { machine, endpoint, line } = plugged({ bars, interruptPin: 1, onReset: () => resets.push('reset') })
    machine.write(0, 1, 0x10, 4, 0xc000_0000)
    machine.write(0, 1, COMMAND, 2, 6)
    machine.write(0, 1, 0x3c, 1, 17)
    endpoint.setInterrupt(true)
    const deviceControl = (capabilities(endpoint).get(0x10) ?? 0) + 8
    return { machine, endpoint, line, resets, places, deviceControl }
  }

  it('brings registers, BARs and pin to power-on, then tells the device', () => {
    const { machine, endpoint, line, resets, places } = busyEndpoint()
    endpoint.reset()
    expect([0x04, 0x10, 0x3c].map(at => machine.read(0, 1, at, 4))).toEqual([0x0010_0000, 0, 0x100])
    expect(machine.mapped).toEqual([])
    expect(places).toEqual([0xc000_0000, undefined])
    expect(line?.level).toBe(false)
    expect(resets).toEqual(['reset'])
  })

  it.each([
    ['a byte', 1, 1, 0x80],
    ['a word', 0, 2, 0x8000],
    ['a dword', 0, 4, 0x8000],
  ])('follows a function level reset written as %s', (_name, offset, size, value) => {
    const { machine, resets, deviceControl } = busyEndpoint()
    machine.write(0, 1, deviceControl + offset, size, value)
    expect(resets).toEqual(['reset'])
    expect(machine.mapped).toEqual([])
    expect(machine.read(0, 1, deviceControl, 2)).toBe(0x2810)
  })

  it.each([
    ['other bits of the register', 0, 2, 0x7fff],
    ['the status register', 2, 2, 0x8000],
    ['the link registers behind it', 4, 4, 0xffff_ffff],
    ['the capability before it', -4, 4, 0xffff_ffff],
  ])('does not follow a write of %s', (_name, offset, size, value) => {
    const { machine, resets, deviceControl } = busyEndpoint()
    machine.write(0, 1, deviceControl + offset, size, value)
    expect(resets).toEqual([])
  })
})

describe('PciEndpoint.close', () => {
  it('lets go of its interrupt line', () => {
    const { endpoint, line } = plugged({ interruptPin: 1 })
    endpoint.setInterrupt(true)
    endpoint.close()
    expect(line?.levels).toEqual([true, false])
  })
})

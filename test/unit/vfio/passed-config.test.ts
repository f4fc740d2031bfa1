import { describe, expect, it } from 'vitest'
import { E1000E, EDU, NVME } from '../../support/fake-vfio-device.ts'
import { capabilities } from '../../support/pci-machine.ts'
import { VfioMachine } from '../../support/vfio-machine.ts'

describe('VfioFunction configuration space', () => {
  it.each([
    ['identity', 0x00, 4, 0x0010_1b36],
    ['command', 0x04, 2, 0],
    ['status', 0x06, 2, 0x0010],
    ['class', 0x08, 4, 0x0108_0202],
    ['header type', 0x0e, 1, 0],
    ['subsystem', 0x2c, 4, 0x1100_1af4],
    ['ROM', 0x30, 4, 0],
    ['capability pointer', 0x34, 1, 0x40],
    ['interrupt line', 0x3c, 1, 0],
    ['interrupt pin', 0x3d, 1, 1],
  ])('shows the %s', (_name, offset, size, value) => {
    using machine = new VfioMachine(NVME)
    expect(machine.read(offset, size)).toBe(value)
  })

  it('shows sizes of BARs by the host, not its addresses', () => {
    using machine = new VfioMachine(NVME)
    expect(machine.read(0x10, 4)).toBe(4)
    machine.write(0x10, 4, 0xffff_ffff)
    machine.write(0x14, 4, 0xffff_ffff)
    expect([machine.read(0x10, 4), machine.read(0x14, 4)]).toEqual([0xffff_c004, 0xffff_ffff])
  })

  it('hides I/O BARs', () => {
    using machine = new VfioMachine(E1000E)
    machine.write(0x18, 4, 0xffff_ffff)
    expect(machine.read(0x18, 4)).toBe(0)
    expect(machine.function.bars.map(({ index, size }) => [index, size])).toEqual([
      [0, 0x2_0000],
      [1, 0x2_0000],
      [3, 0x4000],
    ])
  })

  it('shows a BAR of less than a page as a page', () => {
    using machine = new VfioMachine({ ...EDU, sizes: [0x100, 0, 0, 0, 0, 0, 0] })
    machine.write(0x10, 4, 0xffff_ffff)
    expect(machine.read(0x10, 4)).toBe(0xffff_f000)
  })

  it.each([
    ['edu', EDU, { 5: 0x40 }],
    ['nvme', NVME, { 17: 0x40, 16: 0x80, 1: 0x60 }],
    ['e1000e', E1000E, { 1: 0xc8, 5: 0xd0, 16: 0xe0, 17: 0xa0 }],
  ])('keeps the capabilities of %s at their offsets', (_name, device, places) => {
    using machine = new VfioMachine(device)
    expect(Object.fromEntries(capabilities(machine.function))).toEqual(places)
  })

  it('makes the links of its lists itself', () => {
    const config = E1000E.config.slice()
    // A capability that is hidden, between two that are not.
    config[0xd0] = 0x08
    using machine = new VfioMachine({ ...E1000E, config, irqs: [1, 0, 5, 1, 1] })
    expect(Object.fromEntries(capabilities(machine.function))).toEqual({ 1: 0xc8, 16: 0xe0, 17: 0xa0 })
    expect(machine.read(0xd0, 4)).toBe(0)
  })

  it('has nothing above 256 bytes without PCI Express', () => {
    const config = E1000E.config.slice()
    config[0xd1] = 0
    using machine = new VfioMachine({ ...E1000E, config })
    expect(machine.read(0x100, 4)).toBe(0)
  })

  it('takes the upper half of a 64-bit BAR for no BAR of its own', () => {
    using machine = new VfioMachine({ ...NVME, sizes: [0x4000, 0x1000, 0, 0, 0, 0, 0] })
    expect(machine.function.bars.map(({ index }) => index)).toEqual([0])
  })

  it('keeps extended capabilities that harm nobody', () => {
    using machine = new VfioMachine(E1000E)
    expect(machine.read(0x100, 4)).toBe(0x1402_0001)
    expect(machine.read(0x140, 4)).toBe(0x0001_0003)
    expect(machine.read(0x144, 4)).toBe(0xff12_3457)
  })

  it.each([
    ['SR-IOV', 0x10],
    ['ATS', 0x0f],
    ['PRI', 0x13],
    ['PASID', 0x1b],
    ['ARI', 0x0e],
    ['ACS', 0x0d],
    ['resizable BAR', 0x15],
    ['LTR', 0x18],
    ['DPC', 0x1d],
    ['an unknown one', 0x7777],
  ])('hides %s', (_name, id) => {
    const config = E1000E.config.slice()
    config.set([id & 0xff, id >>> 8], 0x140)
    using machine = new VfioMachine({ ...E1000E, config })
    expect(machine.read(0x100, 4)).toBe(0x0002_0001)
    expect(machine.read(0x144, 4)).toBe(0)
    machine.write(0x144, 4, 0xffff_ffff)
    expect(machine.device.log).toEqual([])
    expect(machine.said.filter(line => line.includes('0x140'))).toHaveLength(1)
  })

  it('begins the extended list where the specification has it, although the first one is hidden', () => {
    const config = E1000E.config.slice()
    config[0x100] = 0x10
    using machine = new VfioMachine({ ...E1000E, config })
    expect(machine.read(0x100, 4)).toBe(0x1400_0000)
    expect(machine.read(0x104, 4)).toBe(0)
  })

  it.each([
    ['MSI-X', 0xf8, [0x11, 0, 4, 0]],
    ['MSI', 0xf0, [5, 0, 0x80, 1]],
    ['PCI Express', 0xf8, [0x10, 0, 2, 0]],
    ['power management', 0xfc, [1, 0, 3, 0]],
  ])('hides %s that does not fit into the space', (_name, at, header) => {
    const config = EDU.config.slice()
    config.set(header, at)
    config[0x34] = at
    using machine = new VfioMachine({ ...EDU, config, irqs: [1, 1, 5, 0, 1] })
    machine.write(at, 4, 0xffff_ffff)
    machine.function.reset()
    expect([machine.read(0x34, 1), machine.read(at, 4)]).toEqual([0, 0])
  })

  it('hides a capability that another one lies in', () => {
    const config = EDU.config.slice()
    config.set([5, 0x4c, 0x80, 0], 0x40)
    config.set([9, 0], 0x4c)
    using machine = new VfioMachine({ ...EDU, config })
    expect([...capabilities(machine.function)]).toEqual([[9, 0x4c]])
  })

  it('ends capability lists that lead back to themselves', () => {
    const config = E1000E.config.slice()
    config[0xa1] = 0xc8
    new DataView(config.buffer).setUint32(0x140, 0x1001_0003, true)
    using machine = new VfioMachine({ ...E1000E, config })
    expect(capabilities(machine.function).size).toBe(4)
    expect(machine.read(0x140, 4)).toBe(0x0001_0003)
  })

  it('passes what is not ours to the device as it was written', () => {
    using machine = new VfioMachine(E1000E)
    machine.write(0x108, 4, 0x1234_5678)
    machine.write(0x40, 2, 0xabcd)
    expect(machine.device.log).toEqual(['write 7 108:4 12345678', 'write 7 40:2 abcd'])
    expect(machine.read(0x108, 4)).toBe(0x1234_5678)
  })

  it("passes of an access only the part that is the device's", () => {
    using machine = new VfioMachine(E1000E)
    machine.write(0x3c, 4, 0x0504_0b0a)
    expect(machine.device.log).toEqual(['write 7 3e:2 504'])
    expect(machine.read(0x3c, 4)).toBe(0x0504_010a)
  })

  it('has no self test for the guest', () => {
    using machine = new VfioMachine(E1000E)
    machine.write(0x0f, 1, 0x40)
    expect(machine.device.log).toEqual([])
  })

  it('refuses a bridge', () => {
    const config = EDU.config.slice()
    config[0x0e] = 0x81
    expect(() => new VfioMachine({ ...EDU, config })).toThrow(/is a bridge/)
  })

  it('refuses a device that does not answer', () => {
    expect(() => new VfioMachine({ ...EDU, config: new Uint8Array(256).fill(0xff) })).toThrow(/does not answer/)
  })
})

describe('VfioFunction PCI Express', () => {
  it('is integrated and without a link on the root bus', () => {
    using machine = new VfioMachine(E1000E)
    expect(machine.read(0xe2, 2)).toBe(0x0091)
    expect(machine.read(0xec, 4)).toBe(0)
    expect(machine.read(0xf0, 4)).toBe(0)
  })

  it('has a link below a port', () => {
    using machine = new VfioMachine(NVME, {}, 'port')
    expect(machine.read(0x82, 2)).toBe(0x0002)
    expect(machine.read(0x8c, 4)).toBe(0x103)
    expect(machine.read(0x92, 2)).toBe(0x103)
  })

  it('has the second set of link registers below a port, too', () => {
    using machine = new VfioMachine(NVME, {}, 'port')
    expect([machine.read(0xac, 4), machine.read(0xb0, 2)]).toEqual([0x0e, 3])
  })

  it('stays integrated below a port where its capability has no room for a link', () => {
    using machine = new VfioMachine(E1000E, {}, 'port')
    expect(machine.read(0xe2, 2)).toBe(0x0091)
  })

  it('leaves a real endpoint below a port as it is', () => {
    const config = NVME.config.slice()
    config[0x82] = 0x02
    using machine = new VfioMachine({ ...NVME, config }, {}, 'port')
    expect(machine.read(0x82, 2)).toBe(0x0002)
    expect(machine.read(0x8c, 4)).toBe(0x411)
  })

  it('is not there on a conventional bus', () => {
    using machine = new VfioMachine(NVME, {}, 'bridge')
    expect([...capabilities(machine.function).keys()]).toEqual([0x11, 1])
    expect(machine.read(0x82, 2)).toBe(0)
  })

  it.each([
    ['offers function level reset where the host can reset', 'function', 0x1000_8000],
    ['offers it where the host resets the bus', 'bus', 0x1000_8000],
    ['does not offer it where the host has no way', 'none', 0x8000],
  ] as const)('%s', (_name, resetKind, devcap) => {
    using machine = new VfioMachine({ ...NVME, resetKind })
    expect(machine.read(0x84, 4)).toBe(devcap)
  })

  it.each([
    [1, 0x89, 0x80],
    [2, 0x88, 0x9000],
    [4, 0x88, 0x9000],
  ])('resets for the bit in a write of %i bytes, which the device does not get', (size, offset, value) => {
    using machine = new VfioMachine(NVME)
    machine.command(6)
    machine.device.log.length = 0
    machine.write(offset, size, value)
    expect(machine.device.resets).toBe(2)
    expect(machine.device.log[0]).toBe(`write 7 ${offset.toString(16)}:${size} ${(value & 0x7f7f).toString(16)}`)
    expect(machine.read(4, 2)).toBe(0)
  })

  it('ignores the bit where the host has no way to reset', () => {
    using machine = new VfioMachine({ ...NVME, resetKind: 'none' })
    machine.write(0x88, 2, 0x8000)
    expect(machine.device.resets).toBe(1)
  })
})

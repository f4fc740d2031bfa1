import { describe, expect, it } from 'vitest'
import { E1000E, EDU, NVME } from '../../support/fake-vfio-device.ts'
import { BAR, nvme, VfioMachine } from '../../support/vfio-machine.ts'

describe('VfioFunction memory', () => {
  it('gives the guest all of a BAR except for the pages of MSI-X', () => {
    using machine = nvme()
    expect(machine.space.list).toEqual(['c0000000+2000'])
    expect(machine.function.statistics).toMatchObject({ mappedBytes: 0x2000 })
  })

  it('gives the guest what lies around the pages of MSI-X', () => {
    const config = NVME.config.slice()
    new DataView(config.buffer).setUint32(0x44, 0x1000, true)
    using machine = new VfioMachine({ ...NVME, config })
    machine.place(0, BAR)
    expect(machine.space.list).toEqual(['c0000000+1000', 'c0002000+1000'])
  })

  it('keeps all pages of a long MSI-X table', () => {
    const config = NVME.config.slice()
    const view = new DataView(config.buffer)
    view.setUint16(0x42, 0x1ff, true)
    view.setUint32(0x44, 0x4000, true)
    view.setUint32(0x48, 0x3000, true)
    using machine = new VfioMachine({ ...NVME, config, sizes: [0x8000, 0, 0, 0, 0, 0, 0], irqs: [1, 0, 512, 1, 1] })
    machine.place(0, BAR)
    expect(machine.space.list).toEqual(['c0000000+3000', 'c0006000+2000'])
  })

  it('follows the BAR, and leaves when memory decoding goes off', () => {
    using machine = nvme()
    machine.write(0x10, 4, BAR + 0x10_0000)
    expect(machine.space.list).toEqual(['c0100000+2000'])
    machine.command(4)
    expect(machine.space.list).toEqual([])
    expect(machine.peers.ranges).toEqual([])
    expect(machine.device.command).toBe(4)
  })

  it('turns decoding on in the device before the guest can reach it', () => {
    using machine = new VfioMachine(NVME)
    const order: string[] = []
    const { space, device } = machine
    const map = space.map.bind(space)
    space.map = (...slot) => {
      order.push(`decoding ${(device.command & 2) !== 0}`)
      map(...slot)
    }
    machine.place(0, BAR)
    expect(order).toEqual(['decoding true'])
  })

  it('is what other devices can reach, at the address of its mapping', () => {
    using machine = nvme()
    const [, hostAddress] = machine.space.slots.get(BAR) ?? []
    expect(machine.peers.find(BAR + 0x1234)).toEqual({ hostAddress: (hostAddress ?? 0) + 0x1234, room: 0xdcc })
  })

  it('takes itself from other devices before it leaves the guest', () => {
    using machine = nvme()
    const there: number[] = []
    machine.peers.onChange(() => there.push(machine.space.slots.size))
    machine.command(0)
    expect(there).toEqual([1])
  })

  it('serves the whole BAR by reads and writes of the region', () => {
    using machine = nvme()
    machine.pci.mmio.write(BAR + 0x1004, 4, 0xdead_beef)
    expect(machine.pci.mmio.read(BAR + 0x1004, 4)).toBe(0xdead_beef)
    expect(machine.device.log.at(-1)).toBe('write 0 1004:4 deadbeef')
    expect(machine.function.statistics).toMatchObject({ trapped: 2 })
  })

  it('answers behind a region that is smaller than a page', () => {
    using machine = new VfioMachine({ ...EDU, sizes: [0x100, 0, 0, 0, 0, 0, 0] })
    machine.place(0, BAR)
    machine.device.log.length = 0
    machine.pci.mmio.write(BAR + 0x100, 4, 1)
    expect(machine.pci.mmio.read(BAR + 0x100, 4)).toBe(0xffff_ffff)
    expect(machine.device.log).toEqual([])
  })

  it('traps what the host does not map, and says so once', () => {
    using machine = nvme({ isUnmappable: true })
    machine.write(0x10, 4, BAR + 0x10_0000)
    expect(machine.space.list).toEqual([])
    expect(machine.said.filter(line => line.includes('slow'))).toEqual([
      'vfio0: accesses to its BAR 0 are slow: mmap failed: EINVAL (errno 22)',
    ])
  })

  it('traps what the guest has no slot for', () => {
    using machine = new VfioMachine(NVME)
    machine.space.isFull = true
    machine.place(0, BAR)
    expect(machine.peers.ranges).toEqual([])
    expect(machine.pci.mmio.read(BAR, 4)).toBe(0)
  })

  it('maps each area once', () => {
    using machine = nvme()
    machine.command(0)
    machine.command(6)
    expect(machine.device.mappings.size).toBe(1)
  })

  it('leaves the guest while the device sleeps', () => {
    using machine = nvme()
    machine.write(0x64, 2, 3)
    expect(machine.space.list).toEqual([])
    machine.write(0x64, 2, 0)
    expect(machine.space.list).toEqual(['c0000000+2000'])
  })

  it('has left before the device sleeps', () => {
    using machine = nvme()
    const { device, space } = machine
    const sizes: number[] = []
    const write = device.write.bind(device)
    device.write = (...access) => {
      sizes.push(space.slots.size)
      write(...access)
    }
    machine.write(0x64, 2, 3)
    expect(sizes).toEqual([0])
  })
})

describe('VfioFunction ROM', () => {
  /** A machine with the ROM on at 0xc0800000. */
  function withRom(rom: 'device' | 'none' | Uint8Array): VfioMachine {
    const machine = new VfioMachine(E1000E, { rom })
    machine.device.memory[6]?.set([0x55, 0xaa, 1, 2], 0)
    machine.command(2)
    machine.write(0x30, 4, 0xc080_0001)
    return machine
  }

  it("is the device's", () => {
    using machine = withRom('device')
    expect(machine.pci.mmio.read(0xc080_0000, 4)).toBe(0x0201_aa55)
    machine.write(0x30, 4, 0xffff_fffe)
    expect(machine.read(0x30, 4)).toBe(0xfffc_0000)
  })

  it('is that of a file, filled up to a power of two', () => {
    using machine = withRom(new Uint8Array(0x1801).fill(0x77))
    expect(machine.pci.mmio.read(0xc080_1800, 4)).toBe(0xffff_ff77)
    machine.write(0x30, 4, 0xffff_fffe)
    expect(machine.read(0x30, 4)).toBe(0xffff_e000)
  })

  it('can be left out', () => {
    using machine = withRom('none')
    expect(machine.read(0x30, 4)).toBe(0)
    expect(machine.pci.mapped).toEqual([])
  })

  it('is away while the device sleeps', () => {
    using machine = withRom('device')
    machine.write(0xcc, 2, 3)
    expect(machine.pci.mapped).not.toContain(0xc080_0000)
    machine.write(0xcc, 2, 0)
    expect(machine.pci.mmio.read(0xc080_0000, 4)).toBe(0x0201_aa55)
  })

  it('is away while its enable bit or memory decoding is off', () => {
    using machine = withRom('device')
    machine.write(0x30, 4, 0xc080_0000)
    expect(machine.pci.mapped).not.toContain(0xc080_0000)
    machine.write(0x30, 4, 0xc080_0001)
    expect(machine.pci.mapped).toContain(0xc080_0000)
    machine.command(0)
    expect(machine.pci.mapped).toEqual([])
  })
})

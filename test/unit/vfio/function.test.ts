import { describe, expect, it } from 'vitest'
import { SysError } from '../../../src/base/errors.ts'
import { ENOMEM } from '../../../src/host/errno.ts'
import type { EventLoop } from '../../../src/host/event-loop.ts'
import { VfioFunction } from '../../../src/vfio/function.ts'
import { PeerMemory } from '../../../src/vfio/peer-memory.ts'
import { VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX } from '../../../src/vfio/uapi.ts'
import { E1000E, EDU, FakeSpace, FakeVfioDevice, NVME } from '../../support/fake-vfio-device.ts'
import { PciMachine } from '../../support/pci-machine.ts'
import { BAR, nvme, unmask, VfioMachine } from '../../support/vfio-machine.ts'

const INTX = 0

/** What a function is given besides its device, its loop and its host. */
const QUIET = {
  name: 'vfio0',
  space: new FakeSpace(),
  peers: new PeerMemory(),
  rom: 'none',
  warn() {},
  debug() {},
  onGone() {},
  onError() {},
} as const

describe('VfioFunction.reset', () => {
  it('resets the device when it is plugged in', () => {
    using machine = new VfioMachine(NVME)
    expect(machine.device.resets).toBe(1)
  })

  it('stops DMA, then interrupts, then takes the memory, then resets', () => {
    using machine = nvme()
    unmask(machine, BAR + 0x2000, 0)
    machine.device.log.length = 0
    machine.function.reset()
    expect(machine.device.log).toEqual([
      'write 7 4:2 2',
      'disable 2',
      'write 7 4:2 0',
      'write 7 64:2 8',
      'reset',
      'write 7 88:2 0',
      'write 7 a8:2 0',
      'set 0 0 1000',
    ])
    expect(machine.space.list).toEqual([])
  })

  it('brings our registers to power-on', () => {
    using machine = nvme()
    unmask(machine, BAR + 0x2000, 0)
    machine.write(0x3c, 1, 11)
    machine.function.reset()
    expect([machine.read(4, 2), machine.read(0x10, 4), machine.read(0x3c, 1), machine.read(0x42, 2)]).toEqual([
      0, 4, 0, 0x40,
    ])
    expect(machine.pci.host.vectors[0]?.message).toBeUndefined()
    machine.place(0, BAR)
    expect(machine.pci.mmio.read(BAR + 0x200c, 4)).toBe(1)
  })

  it('turns MSI off', () => {
    using machine = new VfioMachine(EDU)
    machine.command(6)
    machine.write(0x44, 4, 0xfee0_1000)
    machine.write(0x42, 2, 1)
    machine.function.reset()
    expect(machine.device.kinds).toEqual([INTX])
    machine.command(6)
    expect(machine.pci.host.vectors[0]?.message).toBeUndefined()
  })

  it('wakes the device', () => {
    using machine = nvme()
    machine.write(0x64, 2, 3)
    machine.function.reset()
    machine.place(0, BAR)
    expect(machine.space.list).toEqual(['c0000000+2000'])
    expect(machine.device.config[0x64]).toBe(0)
  })

  it('brings back the settings of error reporting', () => {
    using machine = new VfioMachine(E1000E)
    machine.write(0x108, 4, 0x1234_5678)
    machine.write(0x118, 4, 0xffff_ffff)
    machine.write(0xe8, 2, 0x000f)
    machine.function.reset()
    expect([machine.read(0x108, 4), machine.read(0x118, 4), machine.read(0xe8, 2)]).toEqual([0, 0xa0, 0])
  })

  it.each([
    ['offers', 'function', 0x10],
    ['offers', 'bus', 0x10],
    ['does not offer', 'shared', 0],
    ['does not offer', 'none', 0],
  ] as const)('%s function level reset where the reset of the host is "%s"', (_, resetKind, offered) => {
    using machine = new VfioMachine({ ...NVME, resetKind })
    expect(machine.read(0x87, 1) & 0x10).toBe(offered)
  })

  it('tells once that the host did not do it', () => {
    using machine = nvme()
    machine.device.reset = () => 'none'
    machine.function.reset()
    machine.function.reset()
    expect(machine.said).toEqual([expect.stringContaining('the host did not reset it when the guest asked for it')])
  })

  it('follows a reset of the bus by the port above', () => {
    using machine = new VfioMachine(NVME, {}, 'port')
    machine.pci.write(0, 1, 0x3e, 2, 0x40)
    expect(machine.device.resets).toBe(2)
  })

  it('can be done by the advanced features capability', () => {
    const config = EDU.config.slice()
    config.set([0x13, 0x00, 0x06, 0x03, 0, 0], 0x60)
    config[0x41] = 0x60
    using machine = new VfioMachine({ ...EDU, config, resetKind: 'bus' })
    machine.write(0x64, 1, 1)
    expect(machine.device.resets).toBe(2)
    expect(machine.device.log[0]).toBe('write 7 64:1 0')
  })
})

describe('VfioFunction.close', () => {
  it('gives MSI and the ROM back', () => {
    const machine = new VfioMachine(E1000E, { rom: 'device' })
    machine.command(6)
    machine.write(0x30, 4, 0xc080_0001)
    machine.write(0xd4, 4, 0xfee0_1000)
    machine.write(0xd2, 2, 1)
    machine[Symbol.dispose]()
    expect(machine.pci.mapped).toEqual([])
    expect(machine.pci.host.vectors.map(({ isClosed }) => isClosed)).toEqual([true])
  })

  it('leaves the device quiet and gives everything back', () => {
    const machine = nvme()
    unmask(machine, BAR + 0x2000, 0)
    machine[Symbol.dispose]()
    expect(machine.device.resets).toBe(2)
    expect([...machine.device.triggers.keys()]).toEqual([])
    expect([machine.space.list, machine.peers.ranges, [...machine.device.mappings]]).toEqual([[], [], []])
    expect(machine.pci.host.vectors.every(({ isClosed }) => isClosed)).toBe(true)
    expect([...machine.pci.host.levelInterrupts.values()].every(({ isClosed }) => isClosed)).toBe(true)
    expect(machine.pci.mapped).toEqual([])
  })

  it('is not called by the loop afterwards', () => {
    const machine = nvme()
    const fd = machine.device.triggers.get(VFIO_PCI_ERR_IRQ_INDEX)?.[0] ?? 0
    const unwatched: number[] = []
    machine.loop.unwatch = gone => unwatched.push(gone)
    machine[Symbol.dispose]()
    expect(unwatched).toContain(fd)
  })

  it('gives the rest back when the host refuses part of it, and says so', () => {
    const machine = nvme()
    unmask(machine, BAR + 0x2000, 0)
    const { space, device, pci } = machine
    space.unmap = () => {
      throw new SysError('KVM_SET_USER_MEMORY_REGION', ENOMEM, 'ENOMEM')
    }
    const { unwatch } = machine.loop
    const unwatched: number[] = []
    machine.loop.unwatch = fd => {
      unwatched.push(fd)
      unwatch.call(machine.loop, fd)
    }
    expect(() => machine.function.close()).toThrow()
    expect([[...device.triggers.keys()], [...device.mappings], unwatched.length]).toEqual([[], [], 2])
    expect(pci.host.vectors.map(({ isClosed }) => isClosed)).toEqual([true])
    expect([...pci.host.levelInterrupts.values()].map(({ isClosed }) => isClosed)).toEqual([true])
    machine[Symbol.dispose]()
  })

  it.each([
    ['errors', VFIO_PCI_ERR_IRQ_INDEX],
    ['requests', VFIO_PCI_REQ_IRQ_INDEX],
  ])('gives everything back of a device that the host does not let it watch for %s', (_name, refusedIrq) => {
    const device = new FakeVfioDevice({ ...NVME, refusedIrq })
    const watched: number[] = []
    const unwatched: number[] = []
    const loop = { watch: (fd: number) => watched.push(fd), unwatch: (fd: number) => unwatched.push(fd) }
    const pci = new PciMachine()
    const failed = new VfioFunction({ ...QUIET, device, loop, host: pci.host })
    expect(() => pci.complex.add(failed)).toThrow('VFIO_DEVICE_SET_IRQS')
    failed.close()
    expect([[...device.triggers.keys()], unwatched.toSorted(), pci.mapped]).toEqual([[], watched.toSorted(), []])
    expect([...pci.host.levelInterrupts.values()].map(({ isClosed }) => isClosed)).toEqual([true])
  })

  it('does nothing the second time', () => {
    const machine = nvme()
    machine.function.close()
    machine.device.log.length = 0
    machine.function.close()
    machine.function.reset()
    expect(machine.device.log).toEqual([])
  })
})

describe('VfioFunction and the host', () => {
  it('gives the device back when the host asks, and answers with ones from then on', () => {
    using machine = nvme()
    machine.signal(VFIO_PCI_REQ_IRQ_INDEX)
    expect(machine.gone).toBe(1)
    expect(machine.device.command).toBe(0)
    expect(machine.space.list).toEqual([])
    expect([machine.read(0, 4), machine.read(0, 2), machine.read(0, 1)]).toEqual([0xffff_ffff, 0xffff, 0xff])
    expect(machine.pci.mmio.read(BAR, 4)).toBe(0xffff_ffff)
    expect(machine.said.at(-1)).toBe('vfio0: the host wants 0000:00:10.0 back: it leaves the guest')
  })

  it('does nothing more to a device that was given back', () => {
    using machine = nvme()
    machine.signal(VFIO_PCI_REQ_IRQ_INDEX)
    machine.device.log.length = 0
    machine.command(6)
    machine.write(0x42, 2, 0x8000)
    machine.function.reset()
    expect(machine.device.log).toEqual([])
  })

  it('tells once of an error, with the name of the device', () => {
    using machine = nvme()
    machine.signal(VFIO_PCI_ERR_IRQ_INDEX)
    machine.loop.wait(0)
    expect(machine.errors).toEqual(['vfio0 (0000:00:10.0) reported an error that it cannot recover from'])
  })

  it('watches nothing that the device does not have', () => {
    const watched: number[] = []
    const loop: Pick<EventLoop, 'watch' | 'unwatch'> = { watch: fd => watched.push(fd), unwatch() {} }
    using machine = new VfioMachine({ ...EDU, irqs: [1, 1, 0, 0, 0] }, { loop })
    expect(watched).toEqual([])
    expect(machine.errors).toEqual([])
  })
})

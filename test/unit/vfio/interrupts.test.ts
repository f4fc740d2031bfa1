import { describe, expect, it } from 'vitest'
import { E1000E, EDU, NVME } from '../../support/fake-vfio-device.ts'
import { capabilities } from '../../support/pci-machine.ts'
import { BAR, nvme, unmask, VfioMachine } from '../../support/vfio-machine.ts'

const INTX = 0
const MSI = 1
const MSIX = 2

describe('VfioFunction interrupts', () => {
  it('sends its pin to the line of the slot until the guest wants messages', () => {
    using machine = new VfioMachine(NVME)
    const level = machine.pci.host.levelInterrupts.get('1.1')
    expect(machine.device.triggers.get(INTX)).toEqual([level?.fd])
    expect(machine.device.unmaskFd).toBe(level?.resampleFd)
    machine.write(0x42, 2, 0x8000)
    expect(machine.device.kinds).toEqual([MSIX])
    machine.write(0x42, 2, 0)
    expect(machine.device.kinds).toEqual([INTX])
  })

  it('comes out of the bridges above by their pins', () => {
    using machine = new VfioMachine({ ...NVME, config: NVME.config.with(0x3d, 2) }, {}, 'port')
    expect([...machine.pci.host.levelInterrupts.keys()]).toEqual(['1.2'])
  })

  it('keeps a pin that the host refuses silent, and says so', () => {
    using machine = new VfioMachine({ ...NVME, vectors: 0 })
    expect(machine.device.kinds).toEqual([])
    expect(machine.said.filter(line => line.includes('pin is silent'))).toHaveLength(1)
    machine.function.reset()
    expect(machine.said.filter(line => line.includes('pin is silent'))).toHaveLength(1)
  })

  it('hands INTx disable on', () => {
    using machine = new VfioMachine(NVME)
    machine.command(0x400)
    expect(machine.device.command).toBe(0x400)
  })

  it('has no pin where VFIO has none', () => {
    using machine = new VfioMachine({ ...NVME, irqs: [0, 0, 65, 1, 1] })
    expect(machine.read(0x3d, 1)).toBe(0)
    expect(machine.device.kinds).toEqual([])
  })

  it('takes a vector of the host for each one that the guest unmasks', () => {
    using machine = nvme()
    expect(machine.device.triggers.get(MSIX)).toEqual([-1])
    unmask(machine, BAR + 0x2000, 0)
    unmask(machine, BAR + 0x2000, 3)
    const { vectors } = machine.pci.host
    expect(machine.device.triggers.get(MSIX)).toEqual([vectors[0]?.fd, undefined, undefined, vectors[1]?.fd])
    expect(vectors.map(({ message }) => message)).toEqual([
      { address: 0xfee0_0000, data: 0x40 },
      { address: 0xfee0_0000, data: 0x43 },
    ])
    expect(machine.function.statistics).toMatchObject({ vectors: 2 })
  })

  it('asks the host nothing when the guest masks and unmasks a vector', () => {
    using machine = nvme()
    unmask(machine, BAR + 0x2000, 0)
    machine.device.log.length = 0
    machine.pci.mmio.write(BAR + 0x200c, 4, 1)
    expect(machine.pci.host.vectors[0]?.message).toBeUndefined()
    machine.pci.mmio.write(BAR + 0x200c, 4, 0)
    expect(machine.pci.host.vectors[0]?.message).toBeDefined()
    expect(machine.device.log).toEqual([])
  })

  it('shows in the pending bits what waits behind a mask', () => {
    using machine = nvme()
    unmask(machine, BAR + 0x2000, 1)
    machine.pci.mmio.write(BAR + 0x201c, 4, 1)
    machine.pci.host.vectors[0]?.trigger()
    expect(machine.pci.mmio.read(BAR + 0x3000, 4)).toBe(2)
  })

  it('sets up again where the host cannot add vectors, and loses nothing by it', () => {
    using machine = nvme({ isFixed: true })
    unmask(machine, BAR + 0x2000, 0)
    unmask(machine, BAR + 0x2000, 1)
    unmask(machine, BAR + 0x2000, 2)
    unmask(machine, BAR + 0x2000, 3)
    const { vectors } = machine.pci.host
    expect(machine.device.triggers.get(MSIX)).toEqual(vectors.map(({ fd }) => fd))
    expect(vectors.map(({ sent }) => sent.length)).toEqual([2, 1, 0, 0])
    expect(machine.device.log.filter(line => line === 'disable 2')).toHaveLength(2)
  })

  it('does without vectors that the host does not have, and says so once', () => {
    using machine = nvme({ vectors: 2 })
    unmask(machine, BAR + 0x2000, 0)
    unmask(machine, BAR + 0x2000, 5)
    unmask(machine, BAR + 0x2000, 6)
    expect(machine.device.triggers.get(MSIX)).toEqual([500])
    expect(machine.said.filter(line => line.includes('interrupts do not come'))).toHaveLength(1)
  })

  it('keeps what it has where the host cannot give it more', () => {
    using machine = nvme({ vectors: 2, isFixed: true })
    unmask(machine, BAR + 0x2000, 0)
    unmask(machine, BAR + 0x2000, 5)
    expect(machine.device.triggers.get(MSIX)).toEqual([500, -1])
    expect(machine.said.filter(line => line.includes('interrupts do not come'))).toHaveLength(1)
  })

  it('enables MSI with as many messages as the guest allows', () => {
    using machine = new VfioMachine(EDU)
    machine.command(6)
    machine.write(0x44, 4, 0xfee0_1000)
    machine.write(0x4c, 2, 0x4041)
    machine.write(0x42, 2, 1)
    expect(machine.device.triggers.get(MSI)).toEqual([500])
    expect(machine.pci.host.vectors[0]?.message).toEqual({ address: 0xfee0_1000, data: 0x4041 })
  })

  it('sends no message while it is no bus master', () => {
    using machine = nvme()
    unmask(machine, BAR + 0x2000, 0)
    machine.command(2)
    expect(machine.pci.host.vectors[0]?.message).toBeUndefined()
    machine.command(6)
    expect(machine.pci.host.vectors[0]?.message).toBeDefined()
  })

  it('sends MSI only as a bus master', () => {
    using machine = new VfioMachine(EDU)
    machine.write(0x44, 4, 0xfee0_1000)
    machine.write(0x42, 2, 1)
    expect(machine.device.triggers.get(MSI)).toEqual([-1])
    machine.command(4)
    expect(machine.device.triggers.get(MSI)).toEqual([500])
    machine.command(0)
    expect(machine.pci.host.vectors[0]?.message).toBeUndefined()
  })

  it('connects what was enabled before it was a bus master, after a reset too', () => {
    using machine = new VfioMachine(EDU)
    machine.command(6)
    machine.function.reset()
    machine.write(0x44, 4, 0xfee0_1000)
    machine.write(0x42, 2, 1)
    expect(machine.pci.host.vectors).toHaveLength(0)
    machine.command(6)
    expect(machine.pci.host.vectors[0]?.message).toBeDefined()
  })

  it('goes on with MSI that the guest left on beside MSI-X', () => {
    using machine = new VfioMachine(E1000E)
    machine.command(6)
    machine.write(0xd4, 4, 0xfee0_1000)
    machine.write(0xd2, 2, 1)
    machine.write(0xa2, 2, 0x8000)
    expect(machine.device.kinds).toEqual([MSIX])
    machine.write(0xa2, 2, 0)
    expect(machine.device.triggers.get(MSI)).toEqual([machine.pci.host.vectors[0]?.fd])
  })

  it('begins anew when MSI-X is turned off and on', () => {
    using machine = nvme({ isFixed: true })
    unmask(machine, BAR + 0x2000, 0)
    unmask(machine, BAR + 0x2000, 1)
    machine.pci.mmio.write(BAR + 0x201c, 4, 1)
    machine.write(0x42, 2, 0)
    machine.pci.host.vectors[1]?.trigger()
    machine.write(0x42, 2, 0x8000)
    expect(machine.device.triggers.get(MSIX)).toEqual([500])
    expect(machine.function.statistics).toMatchObject({ vectors: 1 })
  })

  it.each([
    ['lies in no BAR', 0x04, 0x2000],
    ['overlaps the pending bits', 0x00, 0x2000],
    ['overlaps them from behind', 0x00, 0x2400],
  ])('hides MSI-X whose table %s', (_name, bar, pba) => {
    const config = NVME.config.slice()
    config[0x44] = bar
    new DataView(config.buffer).setUint32(0x48, pba, true)
    using machine = new VfioMachine({ ...NVME, config })
    expect([...capabilities(machine.function).keys()]).toEqual([0x10, 1])
    expect(machine.said.some(line => line.includes('MSI-X is hidden'))).toBe(true)
  })

  it('has pending bits in another BAR than the table', () => {
    const config = E1000E.config.slice()
    new DataView(config.buffer).setUint32(0xa8, 0x1_0000 | 1, true)
    using machine = new VfioMachine({ ...E1000E, config })
    machine.write(0x14, 4, BAR + 0x2_0000)
    machine.place(0, BAR)
    expect(machine.space.list).toEqual(['c0000000+20000', 'c0020000+10000', 'c0031000+f000'])
    expect(machine.pci.mmio.read(BAR + 0x3_0000, 4)).toBe(0)
    expect(machine.read(0xa8, 4)).toBe(0x1_0001)
  })
})

/** A passed-through function in a PCI machine, without KVM and without VFIO. */
import { EventLoop } from '../../src/host/event-loop.ts'
import { EventFd } from '../../src/host/eventfd.ts'
import { VfioFunction, type VfioFunctionOptions } from '../../src/vfio/function.ts'
import { PeerMemory } from '../../src/vfio/peer-memory.ts'
import { VFIO_PCI_REQ_IRQ_INDEX } from '../../src/vfio/uapi.ts'
import { type FakeDeviceOptions, FakeSpace, FakeVfioDevice, NVME } from './fake-vfio-device.ts'
import { PciMachine } from './pci-machine.ts'

const COMMAND = 4

/** Where tests put BAR 0. */
export const BAR = 0xc000_0000

/** The function is 00:01.0, or 01:00.0 below a port. */
export class VfioMachine implements Disposable {
  readonly pci = new PciMachine()
  readonly space = new FakeSpace()
  readonly peers = new PeerMemory()
  readonly loop = new EventLoop()
  readonly said: string[] = []
  readonly device: FakeVfioDevice
  readonly function: VfioFunction
  gone = 0
  readonly errors: string[] = []

  constructor(
    device: FakeDeviceOptions,
    change: Partial<VfioFunctionOptions> = {},
    place: 'root' | 'port' | 'bridge' = 'root',
  ) {
    this.device = new FakeVfioDevice(device)
    this.device.onMemoryOff = () => {
      if (this.space.slots.size > 0) throw new Error('the guest reaches memory that is not decoded')
    }
    this.function = new VfioFunction({
      name: 'vfio0',
      device: this.device,
      host: this.pci.host,
      space: this.space,
      peers: this.peers,
      loop: this.loop,
      rom: 'none',
      warn: message => this.said.push(message),
      debug: message => this.said.push(message),
      onGone: () => {
        this.gone++
      },
      onError: message => this.errors.push(message),
      ...change,
    })
    const { complex } = this.pci
    if (place === 'root') complex.add(this.function)
    else if (place === 'port') complex.add(this.function, { port: complex.addPort() })
    else complex.add(this.function, { port: complex.addBridge() })
    this.device.log.length = 0
  }

  read(offset: number, size: number): number {
    return this.function.readConfig(offset, size)
  }

  write(offset: number, size: number, value: number): void {
    this.function.writeConfig(offset, size, value)
  }

  /** Writes the command register. */
  command(value: number): void {
    this.write(COMMAND, 2, value)
  }

  /** Puts BAR `index` at `address` and turns memory and DMA on. */
  place(index: number, address: number): void {
    this.write(0x10 + 4 * index, 4, address)
    this.command(6)
  }

  /** The host wants the device back, and the loop runs. */
  askBack(): void {
    this.signal(VFIO_PCI_REQ_IRQ_INDEX)
  }

  /** The device signals its interrupt `irq`, and the loop runs. */
  signal(irq: number): void {
    const fd = this.device.triggers.get(irq)?.[0] ?? -1
    signalFd(fd)
    this.loop.wait(0)
  }

  [Symbol.dispose](): void {
    this.function.close()
    this.loop[Symbol.dispose]()
  }
}

function signalFd(fd: number): void {
  new EventFd(fd).signal()
}

/** Programs entry `index` of the MSI-X table at `table` and unmasks it. */
export function unmask(machine: VfioMachine, table: number, index: number): void {
  const { mmio } = machine.pci
  mmio.write(table + 16 * index, 4, 0xfee0_0000)
  mmio.write(table + 16 * index + 8, 4, 0x40 + index)
  mmio.write(table + 16 * index + 12, 4, 0)
}

/** An NVMe device that is mapped at BAR and has MSI-X on. */
export function nvme(change: Partial<typeof NVME> = {}): VfioMachine {
  const machine = new VfioMachine({ ...NVME, ...change })
  machine.write(0x14, 4, 0)
  machine.place(0, BAR)
  machine.write(0x42, 2, 0x8000)
  return machine
}

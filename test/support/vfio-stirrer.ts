/**
 * A guest that does anything to a passed-through network card: writes of any width anywhere in configuration space, its
 * BARs to any place, interrupts of every kind on and off, resets. After each act everything has to fit still.
 */
import * as v from '../../src/vfio/uapi.ts'
import { E1000E } from './fake-vfio-device.ts'
import { HIGH_WINDOW, LOW_WINDOW } from './pci-machine.ts'
import { Random } from './random.ts'
import { VfioMachine } from './vfio-machine.ts'

const SIZES = [1, 2, 4] as const
const COMMAND = 0x04
const MEMORY = 2
const MSIX_FLAGS = 0xa2
const POWER = 0xcc
const MSI_FLAGS = 0xd2
const DEVCTL_HIGH = 0xe9
const FLR = 0x80
const MSI_ENABLE = 1
const MSIX_ENABLE = 0x8000
/** Registers that the guest writes and the device must not hear of: header, BARs, ROM, MSI-X, MSI. */
const OURS = [
  [0x0c, 0x28],
  [0x30, 0x3c],
  [0xa0, 0xac],
  [0xd0, 0xde],
] as const
/** What a guest writes to find out about a BAR, and places in it, beside it and beyond all windows. */
const PLACES = [0xffff_ffff, 0, 0xc000_0000, 0xc002_0000, 0xc010_0000, 0xdffe_0000, 0xe000_0000, 0xfee0_0000]
const BARS = [0x10, 0x14, 0x18, 0x1c, 0x30]
const TABLE_BAR = 0x1c

/** See above. */
export class VfioStirrer implements Disposable {
  /** What was found wrong. */
  readonly faults: string[] = []
  /** Acts after which the guest reached memory of the device, or its messages. */
  readonly seen = { memory: 0, messages: 0 }
  private readonly machine: VfioMachine
  private readonly random: Random

  /** With `failing`, the host refuses much of what it is asked for. */
  constructor(
    seed: number,
    private readonly failing: boolean,
  ) {
    this.random = new Random(seed)
    const isFixed = this.random.below(2) === 0
    this.machine = new VfioMachine({ ...E1000E, isFixed, ...(failing ? { vectors: 2 } : {}) }, { rom: 'device' })
    const { device } = this.machine
    const write = device.write.bind(device)
    device.write = (region, offset, size, value) => {
      if (region === v.VFIO_PCI_CONFIG_REGION_INDEX) this.checkWrite(offset, size, value)
      write(region, offset, size, value)
    }
  }

  run(acts: number): void {
    for (let i = 0; i < acts; i++) {
      this.act()
      this.checkSlots()
      if (!this.failing) this.checkMessages()
    }
  }

  [Symbol.dispose](): void {
    this.machine[Symbol.dispose]()
    const { device, space, peers, pci } = this.machine
    const left = [device.triggers, space.slots, device.mappings].some(({ size }) => size > 0)
    if (left || peers.ranges.length > 0 || pci.mapped.length > 0) this.fault('something is left at the end')
  }

  private act(): void {
    const { random, machine } = this
    const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T
    const size = pick(SIZES)
    switch (random.below(12)) {
      case 0:
      case 1:
        machine.command(random.below(8))
        break
      case 2:
      case 3:
        machine.write(pick(BARS), 4, pick(PLACES) + random.below(2))
        break
      case 4:
        machine.write(MSIX_FLAGS, 2, random.below(4) << 14)
        break
      case 5:
        machine.write(MSI_FLAGS, 2, random.below(2))
        break
      case 6:
      case 7:
        machine.pci.mmio.write(this.tableAt(), pick([4, 8]), random.below(2))
        break
      case 8:
        machine.write(POWER, size, random.below(3) === 0 ? random.below(4) : 0)
        break
      case 9:
        machine.space.isFull = this.failing && random.below(2) === 0
        machine.pci.mmio.read(pick(PLACES) + random.below(0x4000), pick([1, 2, 4, 8]))
        break
      case 10:
        if (random.below(8) === 0) machine.write(DEVCTL_HIGH, 1, random.below(256))
        break
      default:
        machine.write(random.below(random.below(2) === 0 ? 0x100 / size : 0x1000 / size) * size, size, this.value(size))
    }
  }

  private value(size: number): number {
    return this.random.below(size === 4 ? 2 ** 32 : 2 ** (8 * size))
  }

  /** A dword of one of the five entries, wherever the table is at present. */
  private tableAt(): number {
    return (this.machine.read(TABLE_BAR, 4) & ~0xf) + 4 * this.random.below(20)
  }

  private checkWrite(offset: number, size: number, value: number): void {
    const { slots } = this.machine.space
    for (const [start, end] of OURS)
      if (offset < end && offset + size > start) this.fault(`the device hears of ${offset.toString(16)}`)
    const byte = (at: number) =>
      at >= offset && at < offset + size ? (value >>> (8 * (at - offset))) & 0xff : undefined
    if (((byte(DEVCTL_HIGH) ?? 0) & FLR) !== 0) this.fault('the device hears of a reset')
    if (slots.size > 0 && ((byte(COMMAND) ?? MEMORY) & MEMORY) === 0) this.fault('memory goes while it is reached')
    if (slots.size > 0 && ((byte(POWER) ?? 0) & 3) !== 0) this.fault('the device sleeps while it is reached')
  }

  private checkSlots(): void {
    const { device, space, peers } = this.machine
    const slots = [...space.slots]
      .map(([start, [size]]) => ({ start, end: start + size }))
      .sort((a, b) => a.start - b.start)
    if (slots.length > 0) this.seen.memory++
    if (slots.length > 0 && ((device.command & MEMORY) === 0 || ((device.config[POWER] ?? 0) & 3) !== 0))
      this.fault('the guest reaches a device that does not answer')
    if (slots.length !== peers.ranges.length) this.fault('other devices reach something else than the guest')
    let last = 0
    for (const { start, end } of slots) {
      const isInside = [LOW_WINDOW, HIGH_WINDOW].some(({ start: from, size }) => start >= from && end <= from + size)
      if (!isInside || start < last) this.fault(`memory is reached at ${start.toString(16)}`)
      last = end
    }
  }

  /** A vector that leads to the guest is one that the device signals. */
  private checkMessages(): void {
    const { device, pci, function: passed } = this.machine
    const isMsix = (passed.readConfig(MSIX_FLAGS, 2) & MSIX_ENABLE) !== 0
    const isMsi = (passed.readConfig(MSI_FLAGS, 2) & MSI_ENABLE) !== 0
    const on = isMsix ? v.VFIO_PCI_MSIX_IRQ_INDEX : isMsi ? v.VFIO_PCI_MSI_IRQ_INDEX : v.VFIO_PCI_INTX_IRQ_INDEX
    if (device.kinds.length !== 1 || device.kinds[0] !== on)
      this.fault(`kinds ${device.kinds.join()} are on, not ${on}`)
    // The guest has no business to have both on, and then the vectors of MSI wait.
    if (isMsix && isMsi) return
    const signalled = device.triggers.get(on) ?? []
    const open = pci.host.vectors.filter(({ message }) => message !== undefined)
    if (open.length > 0) this.seen.messages++
    for (const { fd } of open) if (!signalled.includes(fd)) this.fault(`nobody signals vector ${fd}`)
  }

  private fault(what: string): void {
    this.faults.push(what)
  }
}

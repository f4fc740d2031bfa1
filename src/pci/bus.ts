/** A PCI bus: functions by device and function number, and the way to the buses below. */
import { assert } from '../base/errors.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import type { Bar, BarPlace, PciFunction, PciSlot } from './function.ts'
import type { LevelInterrupt } from './host.ts'
import { CONVENTIONAL_SIZE, PCI_HEADER_TYPE, PCI_HEADER_TYPE_MFD } from './registers.ts'

const DEVICES = 32
const FUNCTIONS = 8
const PINS = 4

/** What the bus hangs on: the root complex, or a bridge. */
export interface PciUplink {
  /** As the guest programmed it; the root bus is 0. */
  readonly number: number
  readonly isRoot: boolean
  readonly isConventional: boolean
  /** Of a link, on which there is only device 0. */
  readonly devices: number
  addBar(bar: Bar, isReachable: (start: number, size: number) => boolean): BarPlace
  /** A bridge forwards other addresses than before. */
  updateBars(): void
  line(device: number, pin: number): InterruptLine
  levelInterrupt(device: number, pin: number): LevelInterrupt
}

/** Where to plug a function in; absent: the first free device, function 0. */
export interface PciPosition {
  readonly device?: number
  readonly function?: number
}

/** A function and its place on the bus. */
export interface PluggedFunction {
  readonly slot: PciSlot
  readonly function: PciFunction
}

/** See above. */
export class PciBus {
  private readonly plugged = new Map<number, PluggedFunction>()

  constructor(private readonly uplink: PciUplink) {}

  get number(): number {
    return this.uplink.number
  }

  /** By device and function number. */
  get functions(): readonly PluggedFunction[] {
    return [...this.plugged.entries()].sort(([a], [b]) => a - b).map(([, plugged]) => plugged)
  }

  get isEmpty(): boolean {
    return this.plugged.size === 0
  }

  /** Plugs `pciFunction` in. */
  add(pciFunction: PciFunction, position: PciPosition = {}): PciSlot {
    const { name } = pciFunction
    const device = position.device ?? this.freeDevice()
    const number = position.function ?? 0
    assert(device !== undefined, `${name}: the bus has a free device number`)
    assert(device >= 0 && device < this.uplink.devices, `${name}: ${device} is a device number of the bus`)
    assert(number >= 0 && number < FUNCTIONS, `${name}: ${number} is a function number`)
    const devfn = (device << 3) | number
    assert(!this.plugged.has(devfn), `${name}: ${device}.${number} is free`)
    const { uplink } = this
    const slot: PciSlot = {
      device,
      function: number,
      isRoot: uplink.isRoot,
      isConventional: uplink.isConventional,
      get requesterId() {
        return (uplink.number << 8) | devfn
      },
      get dmaRequesterId() {
        // The bridge sends requests with its secondary bus number and device 0 (PCI Express to PCI Bridge 1.0 §2.3).
        return uplink.isConventional ? uplink.number << 8 : this.requesterId
      },
      addBar: (bar, isReachable = () => true) => uplink.addBar(bar, isReachable),
      updateBars: () => uplink.updateBars(),
      line: pin => uplink.line(device, pin),
      levelInterrupt: pin => uplink.levelInterrupt(device, pin),
    }
    this.plugged.set(devfn, { slot, function: pciFunction })
    pciFunction.attach(slot)
    return slot
  }

  /** Unplugs `pciFunction` and closes it. */
  remove(pciFunction: PciFunction): void {
    for (const [devfn, plugged] of this.plugged)
      if (plugged.function === pciFunction) {
        this.plugged.delete(devfn)
        pciFunction.close()
      }
  }

  /** Reads configuration space of a function on this bus or below; ones where there is none. Any `offset`. */
  readConfig(bus: number, devfn: number, offset: number, size: number): number {
    const target = this.find(bus, devfn, offset)
    if (target === undefined) return ones(size)
    if (offset % size !== 0) return bytewise(size, i => this.readConfig(bus, devfn, offset + i, 1))
    const value = target.readConfig(offset, size)
    const at = PCI_HEADER_TYPE - offset
    // A device with several functions says so in each of them, and only the bus knows (PCI Local Bus 3.0 §6.2.1).
    const isTouched = at >= 0 && at < size
    return isTouched && this.isMultiFunction(bus, devfn) ? (value | (PCI_HEADER_TYPE_MFD << (8 * at))) >>> 0 : value
  }

  /** Writes configuration space, as `readConfig`. */
  writeConfig(bus: number, devfn: number, offset: number, size: number, value: number): void {
    if (offset % size === 0) this.find(bus, devfn, offset)?.writeConfig(offset, size, value)
    else for (let i = 0; i < size; i++) this.writeConfig(bus, devfn, offset + i, 1, (value >>> (8 * i)) & 0xff)
  }

  /** Resets all functions, and so the buses below. */
  reset(): void {
    for (const plugged of this.functions) plugged.function.reset()
  }

  close(): void {
    for (const plugged of this.functions) plugged.function.close()
    this.plugged.clear()
  }

  private find(bus: number, devfn: number, offset: number): PciFunction | undefined {
    const there = this.busOf(bus)
    // A conventional bus has no lines for the upper register bits, and its bridge refuses such accesses.
    if (there?.uplink.isConventional === true && offset >= CONVENTIONAL_SIZE) return undefined
    return there?.plugged.get(devfn)?.function
  }

  /** The guest numbers the buses, perhaps twice the same: the first bridge that takes the number has it. */
  private busOf(bus: number): PciBus | undefined {
    if (bus === this.number) return this
    for (const { function: pciFunction } of this.plugged.values()) {
      const { bridge } = pciFunction
      if (bridge === undefined || bus < bridge.secondary || bus > bridge.subordinate) continue
      return bridge.bus.busOf(bus)
    }
    return undefined
  }

  private isMultiFunction(bus: number, devfn: number): boolean {
    const there = this.busOf(bus)?.plugged
    const first = devfn & ~(FUNCTIONS - 1)
    for (let other = first + 1; other < first + FUNCTIONS; other++) if (there?.has(other) === true) return true
    return false
  }

  private freeDevice(): number | undefined {
    for (let device = 0; device < this.uplink.devices; device++)
      if (![...this.plugged.keys()].some(devfn => devfn >> 3 === device)) return device
    return undefined
  }
}

/** Device numbers of a bus that is no link. */
export const BUS_DEVICES = DEVICES

/** The pin of the bridge that `pin` of `device` below it comes out at. PCI-to-PCI Bridge 1.2 §9.1. */
export function swizzle(device: number, pin: number): number {
  return ((pin - 1 + device) % PINS) + 1
}

function ones(size: number): number {
  return size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1
}

function bytewise(size: number, read: (index: number) => number): number {
  let value = 0
  for (let i = 0; i < size; i++) value |= read(i) << (8 * i)
  return value >>> 0
}

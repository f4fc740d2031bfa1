/** Enhanced configuration access: all configuration space as memory, 4 KiB a function. PCI Express 5.0 §7.2.2. */
import type { BusHandler } from '../bus/bus.ts'
import type { PciBus } from './bus.ts'

const BUS_SHIFT = 20
const FUNCTION_SHIFT = 12
const DEVFN = 0xff
const REGISTER = 0xfff
/** Bytes a bus takes. */
const BUS_SIZE = 1 << BUS_SHIFT

/** The window, for its whole range on the bus. */
export class Ecam implements BusHandler {
  readonly accessSize = 4
  readonly size: number

  constructor(
    private readonly root: PciBus,
    buses: number,
  ) {
    this.size = buses * BUS_SIZE
  }

  read(offset: number, size: number): number {
    if (isWhole(offset, size))
      return this.root.readConfig(offset >>> BUS_SHIFT, (offset >>> FUNCTION_SHIFT) & DEVFN, offset & REGISTER, size)
    let value = 0
    for (let i = 0; i < size; i++) value |= this.read(offset + i, 1) << (8 * i)
    return value >>> 0
  }

  write(offset: number, size: number, value: number): void {
    if (isWhole(offset, size))
      this.root.writeConfig(offset >>> BUS_SHIFT, (offset >>> FUNCTION_SHIFT) & DEVFN, offset & REGISTER, size, value)
    else for (let i = 0; i < size; i++) this.write(offset + i, 1, (value >>> (8 * i)) & 0xff)
  }
}

/** Whether one function has all of the access; it may still be unaligned. */
function isWhole(offset: number, size: number): boolean {
  return (offset & REGISTER) + size <= REGISTER + 1
}

/**
 * Configuration mechanism #1: an address at port 0xcf8, the data at 0xcfc to 0xcff. PCI Local Bus 3.0 §3.2.2.3.2.
 * Port 0xcf9 between them is the chipset's reset control register, which is a byte of its own.
 */
import type { BusHandler } from '../bus/bus.ts'
import type { PciBus } from './bus.ts'

const CONFIG_ADDRESS = 0
const RESET_CONTROL = 1
const CONFIG_DATA = 4

/** CONFIG_ADDRESS: enable, bus 23-16, device and function 15-8, register 7-2. */
const ENABLE = 0x8000_0000
const ADDRESS_WRITABLE = 0x80ff_fffc

/** Reset control: a hard rather than a soft reset, and the reset itself at its rising edge. */
const Reset = { hard: 0x02, cpu: 0x04, full: 0x08 } as const

/** Ports 0xcf8 to 0xcff. */
export class ConfigPorts implements BusHandler {
  static readonly START = 0xcf8
  static readonly SIZE = 8
  readonly accessSize = 4
  private address = 0
  private resetControl = 0

  constructor(
    private readonly root: PciBus,
    private readonly onReset: () => void,
  ) {}

  read(offset: number, size: number): number {
    if (offset >= CONFIG_DATA) {
      if ((this.address & ENABLE) === 0) return 0xffff_ffff
      return this.root.readConfig(this.bus, this.devfn, this.register + offset - CONFIG_DATA, size)
    }
    if (offset === CONFIG_ADDRESS && size === 4) return this.address
    return offset === RESET_CONTROL && size === 1 ? this.resetControl : 0xffff_ffff
  }

  write(offset: number, size: number, value: number): void {
    if (offset >= CONFIG_DATA) {
      if ((this.address & ENABLE) === 0) return
      this.root.writeConfig(this.bus, this.devfn, this.register + offset - CONFIG_DATA, size, value)
    }
    // Only a dword is the address: smaller writes go on to whatever else is at the port.
    else if (offset === CONFIG_ADDRESS && size === 4) this.address = (value & ADDRESS_WRITABLE) >>> 0
    else if (offset === RESET_CONTROL && size === 1) this.controlReset(value)
  }

  /** Back to power-on. */
  reset(): void {
    this.address = 0
    this.resetControl = 0
  }

  private get bus(): number {
    return (this.address >>> 16) & 0xff
  }

  private get devfn(): number {
    return (this.address >>> 8) & 0xff
  }

  private get register(): number {
    return this.address & 0xfc
  }

  private controlReset(value: number): void {
    const asked = (value & ~this.resetControl & Reset.cpu) !== 0
    this.resetControl = value & (Reset.hard | Reset.cpu | Reset.full)
    if (asked) this.onReset()
  }
}

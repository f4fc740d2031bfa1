/**
 * A bridge as a function: a type 1 header and the bus below it. Root ports and bridges to conventional buses add their
 * capabilities. PCI-to-PCI Bridge 1.2
 * §3.2, PCI Express 5.0 §7.5.1.3. No I/O window, no BARs.
 */
import { type InterruptLine, NO_INTERRUPT } from '../bus/interrupt-line.ts'
import type { PciBridge } from './bridge.ts'
import { PciBus, type PciUplink, swizzle } from './bus.ts'
import type { ConfigSpace } from './config-space.ts'
import type { Bar, PciFunction, PciSlot } from './function.ts'
import { createConfigSpace } from './header.ts'
import {
  PCI_BRIDGE_CONTROL,
  PCI_BRIDGE_CTL_BUS_RESET,
  PCI_BRIDGE_CTL_PARITY,
  PCI_BRIDGE_CTL_SERR,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_HEADER_TYPE_BRIDGE,
  PCI_MEMORY_BASE,
  PCI_MEMORY_LIMIT,
  PCI_PREF_BASE_UPPER32,
  PCI_PREF_LIMIT_UPPER32,
  PCI_PREF_MEMORY_BASE,
  PCI_PREF_MEMORY_LIMIT,
  PCI_PREF_RANGE_TYPE_64,
  PCI_PRIMARY_BUS,
  PCI_SEC_STATUS,
  PCI_SECONDARY_BUS,
  PCI_STATUS_ERRORS,
  PCI_SUBORDINATE_BUS,
} from './registers.ts'

const CLASS_BRIDGE_PCI = 0x060400

const TWO_32 = 0x1_0000_0000
/** Windows are whole MiB: the low register holds address bits 31 to 20. */
const WINDOW_BITS = 0xfff0
const WINDOW_LAST = 0xf_ffff

export interface BridgeOptions {
  readonly name: string
  readonly vendorId: number
  readonly deviceId: number
  /** 1 to 4, or 0 for none. */
  readonly interruptPin: number
  /** Device numbers on the bus below. */
  readonly devices: number
  /** Whether the bus below is a conventional one. */
  readonly isConventional: boolean
}

/** See above. Its owner adds capabilities to `config`. */
export class BridgeFunction implements PciFunction, PciBridge {
  readonly name: string
  readonly bars: readonly Bar[] = []
  readonly bridge: PciBridge = this
  readonly config: ConfigSpace
  readonly bus: PciBus
  private slot: PciSlot | undefined
  private isResetting = false

  constructor(private readonly options: BridgeOptions) {
    const { name, vendorId, deviceId, interruptPin } = options
    this.name = name
    this.config = createConfigSpace({
      vendorId,
      deviceId,
      revision: 0,
      classCode: CLASS_BRIDGE_PCI,
      type: PCI_HEADER_TYPE_BRIDGE,
      interruptPin,
    })
    const { config } = this
    for (const at of [PCI_PRIMARY_BUS, PCI_SECONDARY_BUS, PCI_SUBORDINATE_BUS]) config.define(at, 1, 0, 0xff)
    config.define(PCI_SEC_STATUS, 2, 0, 0, PCI_STATUS_ERRORS)
    config.define(PCI_MEMORY_BASE, 2, 0, WINDOW_BITS)
    config.define(PCI_MEMORY_LIMIT, 2, 0, WINDOW_BITS)
    config.define(PCI_PREF_MEMORY_BASE, 2, PCI_PREF_RANGE_TYPE_64, WINDOW_BITS)
    config.define(PCI_PREF_MEMORY_LIMIT, 2, PCI_PREF_RANGE_TYPE_64, WINDOW_BITS)
    config.define(PCI_PREF_BASE_UPPER32, 4, 0, 0xffff_ffff)
    config.define(PCI_PREF_LIMIT_UPPER32, 4, 0, 0xffff_ffff)
    config.define(PCI_BRIDGE_CONTROL, 2, 0, PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR | PCI_BRIDGE_CTL_BUS_RESET)
    config.onWrite(PCI_COMMAND, 2, () => this.slot?.updateBars())
    config.onWrite(PCI_MEMORY_BASE, PCI_PREF_LIMIT_UPPER32 + 4 - PCI_MEMORY_BASE, () => this.slot?.updateBars())
    config.onWrite(PCI_BRIDGE_CONTROL, 2, () => this.obeyControl())
    this.bus = new PciBus(this.uplink())
  }

  get secondary(): number {
    return this.config.view.getUint8(PCI_SECONDARY_BUS)
  }

  get subordinate(): number {
    return this.config.view.getUint8(PCI_SUBORDINATE_BUS)
  }

  forwards(start: number, size: number): boolean {
    const { view } = this.config
    if ((view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY) === 0) return false
    const end = start + size
    const window = (base: number, limit: number, baseHigh: number, limitHigh: number): boolean =>
      start >= low(view, base) + TWO_32 * baseHigh && end <= low(view, limit) + WINDOW_LAST + 1 + TWO_32 * limitHigh
    return (
      window(PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, 0, 0) ||
      window(
        PCI_PREF_MEMORY_BASE,
        PCI_PREF_MEMORY_LIMIT,
        view.getUint32(PCI_PREF_BASE_UPPER32, true),
        view.getUint32(PCI_PREF_LIMIT_UPPER32, true),
      )
    )
  }

  attach(slot: PciSlot): void {
    this.slot = slot
  }

  readConfig(offset: number, size: number): number {
    return this.config.read(offset, size)
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.config.write(offset, size, value)
  }

  reset(): void {
    this.config.reset()
    this.isResetting = false
    // Which unmaps what is below, too.
    this.bus.reset()
  }

  close(): void {
    this.bus.close()
  }

  /** The guest holds the bus below in reset while the bit is set; its functions start afresh once. */
  private obeyControl(): void {
    const asked = (this.config.view.getUint16(PCI_BRIDGE_CONTROL, true) & PCI_BRIDGE_CTL_BUS_RESET) !== 0
    const begins = asked && !this.isResetting
    this.isResetting = asked
    if (begins) this.bus.reset()
  }

  private uplink(): PciUplink {
    const above = this
    return {
      get number(): number {
        return above.secondary
      },
      isRoot: false,
      isConventional: this.options.isConventional,
      devices: this.options.devices,
      addBar: (bar, isReachable) =>
        above.requireSlot().addBar(bar, (start, size) => above.forwards(start, size) && isReachable(start, size)),
      updateBars: (): void => above.slot?.updateBars(),
      line: (device: number, pin: number): InterruptLine => above.slot?.line(swizzle(device, pin)) ?? NO_INTERRUPT,
      levelInterrupt: (device, pin) => above.requireSlot().levelInterrupt(swizzle(device, pin)),
    }
  }

  private requireSlot(): PciSlot {
    if (this.slot === undefined) throw new Error(`internal error: ${this.name} is plugged in before what is below it`)
    return this.slot
  }
}

/** Start of the address that the window register at `at` holds. */
function low(view: DataView, at: number): number {
  return ((view.getUint16(at, true) & WINDOW_BITS) << 16) >>> 0
}

/**
 * A PCI Express root port: a PCI-to-PCI bridge on the root bus with one slot below it. Functions below have requester
 * IDs of their own bus, and access control services let a guest put each port into an IOMMU group of its own.
 * PCI-to-PCI Bridge 1.2 §3.2; PCI Express 5.0 §7.5.1.3, §7.5.3 and §7.7.8. No I/O window, no hot-plug.
 */
import { type InterruptLine, NO_INTERRUPT } from '../bus/interrupt-line.ts'
import type { PciBridge } from './bridge.ts'
import { PciBus, swizzle } from './bus.ts'
import type { ConfigSpace } from './config-space.ts'
import { rootPortExpress } from './express.ts'
import type { Bar, BarPlace, PciFunction, PciSlot } from './function.ts'
import { createConfigSpace } from './header.ts'
import {
  PCI_BRIDGE_CONTROL,
  PCI_BRIDGE_CTL_BUS_RESET,
  PCI_BRIDGE_CTL_PARITY,
  PCI_BRIDGE_CTL_SERR,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  PCI_EXT_CAP_ID_ACS,
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

/** As QEMU's pcie-root-port, which guests know. */
const VENDOR_ID = 0x1b36
const DEVICE_ID = 0x000c
const CLASS_BRIDGE_PCI = 0x060400

const TWO_32 = 0x1_0000_0000
/** Windows are whole MiB: the low register holds address bits 31 to 20. */
const WINDOW_BITS = 0xfff0
const WINDOW_LAST = 0xf_ffff

/** Source validation, translation blocking, request and completion redirect, upstream forwarding. */
const ACS_BITS = 0x001f
const ACS_CAPABILITY_AT = 4
const ACS_CONTROL_AT = 6
const ACS_SIZE = 8
const ACS_VERSION = 1

/** See above. */
export class RootPort implements PciFunction, PciBridge {
  readonly bars: readonly Bar[] = []
  readonly bridge: PciBridge = this
  readonly bus: PciBus
  private readonly config: ConfigSpace
  private slot: PciSlot | undefined
  private isResetting = false

  /** `number` is that of the physical slot: 1 to 255, another one for each port. */
  constructor(
    readonly name: string,
    number: number,
  ) {
    this.config = createConfigSpace({
      vendorId: VENDOR_ID,
      deviceId: DEVICE_ID,
      revision: 0,
      classCode: CLASS_BRIDGE_PCI,
      type: PCI_HEADER_TYPE_BRIDGE,
      interruptPin: 1,
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
    config.addCapability(rootPortExpress(number, () => !this.bus.isEmpty))
    config.addExtendedCapability(accessControlServices())
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

  private uplink() {
    const port = this
    return {
      get number(): number {
        return port.secondary
      },
      isRoot: false,
      // A link has one device (PCI Express 5.0 §7.3.1).
      devices: 1,
      addBar: (bar: Bar, isReachable: (start: number, size: number) => boolean): BarPlace =>
        port.requireSlot().addBar(bar, (start, size) => port.forwards(start, size) && isReachable(start, size)),
      updateBars: (): void => port.slot?.updateBars(),
      line: (device: number, pin: number): InterruptLine => port.slot?.line(swizzle(device, pin)) ?? NO_INTERRUPT,
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

/** The whole set of services is there, and off until the guest asks for it. */
function accessControlServices() {
  const bytes = new Uint8Array(ACS_SIZE)
  const writable = new Uint8Array(ACS_SIZE)
  bytes[ACS_CAPABILITY_AT] = ACS_BITS
  writable[ACS_CONTROL_AT] = ACS_BITS
  return { id: PCI_EXT_CAP_ID_ACS, version: ACS_VERSION, bytes, writable }
}

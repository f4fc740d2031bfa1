/**
 * A ready-made PCI Express endpoint: type 0 configuration space with BARs, capabilities, MSI-X, an interrupt pin and
 * function level reset. A device model has one, gives it its registers as BAR handlers and hands the PciFunction calls
 * on to it. PCI Express 5.0 §7.5.
 *
 * @example
 *   const endpoint = new PciEndpoint({
 *     name: 'disk0', vendorId: 0x1af4, deviceId: 0x1042, revision: 1, classCode: 0x010000, host,
 *     bars: [{ index: 0, size: 0x4000, kind: 'memory64', prefetchable: true, name: 'disk0', handler, onMap }],
 *     capabilities: [{ bytes: common }, { bytes: window, writable: mask, onRead, onWrite }],
 *     msix: { vectors: 2, bar: 0, tableOffset: 0x2000, pbaOffset: 0x3000 },
 *     interruptPin: 1, onReset: () => ...,
 *   })
 *   endpoint.vector(0)?.trigger()
 */
import { assert } from '../base/errors.ts'
import { type InterruptLine, NO_INTERRUPT } from '../bus/interrupt-line.ts'
import { Bars } from './bars.ts'
import type { Capability, ConfigSpace, ExtendedCapability } from './config-space.ts'
import { endpointExpress } from './express.ts'
import type { Bar, PciFunction, PciSlot } from './function.ts'
import { createConfigSpace } from './header.ts'
import type { MsiVector, PciHost } from './host.ts'
import { Msix, type MsixPlace } from './msix.ts'
import { withMsix } from './msix-bar.ts'
import {
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_HEADER_TYPE_NORMAL,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
} from './registers.ts'

export type { Capability, ExtendedCapability } from './config-space.ts'
export type { MsixPlace } from './msix.ts'

export interface EndpointOptions {
  /** For messages, such as "disk0". */
  readonly name: string
  readonly vendorId: number
  readonly deviceId: number
  readonly revision: number
  /** 24 bits: class, subclass, programming interface. */
  readonly classCode: number
  /** Default: those of the function. */
  readonly subsystemVendorId?: number
  readonly subsystemId?: number
  readonly bars: readonly Bar[]
  /** In the order of the list that the guest walks. The endpoint adds its own (MSI-X, PCI Express) behind them. */
  readonly capabilities?: readonly Capability[]
  readonly extendedCapabilities?: readonly ExtendedCapability[]
  /** Table and PBA are answered before the BAR's own handler sees an access to them. */
  readonly msix?: MsixPlace
  /** 1 to 4 for INTA to INTD; absent: the function has no pin. */
  readonly interruptPin?: number
  readonly host: PciHost
  /** False for a conventional function such as the host bridge; on a conventional bus all are. No FLR then. */
  readonly isExpress?: boolean
  /** Function level reset, or reset of the bus: BARs, vectors and registers are at power-on already. */
  readonly onReset?: () => void
  /** The guest let the function reach memory (and send MSIs), or forbade it: bit 2 of the command register. */
  readonly onBusMaster?: (allowed: boolean) => void
}

/** See above. */
export class PciEndpoint implements PciFunction {
  readonly name: string
  /** As given, with MSI-X in front of the handler of its BAR. */
  readonly bars: readonly Bar[]
  readonly config: ConfigSpace
  private readonly registers: Bars
  private readonly msix: Msix | undefined
  private slot: PciSlot | undefined
  private pin: InterruptLine = NO_INTERRUPT
  private pinLevel = false
  private pinOutput = false
  private wasBusMaster = false

  constructor(private readonly options: EndpointOptions) {
    const { name, msix, interruptPin = 0, capabilities = [], extendedCapabilities = [] } = options
    this.name = name
    this.config = createConfigSpace({ ...options, type: PCI_HEADER_TYPE_NORMAL, interruptPin })
    this.config.define(PCI_SUBSYSTEM_VENDOR_ID, 2, options.subsystemVendorId ?? options.vendorId)
    this.config.define(PCI_SUBSYSTEM_ID, 2, options.subsystemId ?? options.deviceId)
    this.msix =
      msix === undefined
        ? undefined
        : new Msix(
            msix,
            options.host,
            () => this.slot?.dmaRequesterId ?? 0,
            () => this.isBusMaster,
            () => this.updatePin(),
          )
    assert(msix === undefined || options.bars.some(bar => bar.index === msix.bar), `${name}: MSI-X has its BAR`)
    const { msix: vectors } = this
    this.bars = vectors === undefined ? options.bars : options.bars.map(bar => withMsix(bar, vectors))
    this.registers = new Bars(this.config, this.bars)
    for (const capability of capabilities) this.config.addCapability(capability)
    if (this.msix !== undefined) this.config.addCapability(this.msix.capability)
    for (const capability of extendedCapabilities) this.config.addExtendedCapability(capability)
    this.config.onWrite(PCI_COMMAND, 2, () => this.obeyCommand())
  }

  /** Interrupt vector `index` of the table; undefined beyond it. Use it while `usesMsix`, else `setInterrupt`. */
  vector(index: number): MsiVector | undefined {
    return this.msix?.vectors[index]
  }

  /** Whether the guest enabled MSI-X; the pin is silent then. */
  get usesMsix(): boolean {
    return this.msix?.enabled === true
  }

  /** Whether the function may reach memory. MSI-X vectors stay unconnected (pending) until it may. */
  get isBusMaster(): boolean {
    return (this.command & PCI_COMMAND_MASTER) !== 0
  }

  /** bus << 8 | device << 3 | function; 0 while not plugged in. */
  get requesterId(): number {
    return this.slot?.requesterId ?? 0
  }

  /** Level of the interrupt pin, as the device wants it; the command register and MSI-X may keep it silent. */
  setInterrupt(level: boolean): void {
    if (level === this.pinLevel) return
    this.pinLevel = level
    this.updatePin()
  }

  attach(slot: PciSlot): void {
    assert(this.slot === undefined, `${this.name} is plugged in once`)
    this.slot = slot
    const { interruptPin = 0, isExpress = true } = this.options
    if (interruptPin !== 0) this.pin = slot.line(interruptPin)
    if (isExpress && !slot.isConventional) this.config.addCapability(endpointExpress(slot.isRoot, () => this.reset()))
    this.registers.attach(slot)
  }

  readConfig(offset: number, size: number): number {
    return this.config.read(offset, size)
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.config.write(offset, size, value)
  }

  /** Everything to power-on, then `onReset`. */
  reset(): void {
    this.config.reset()
    this.pinLevel = false
    this.msix?.reset()
    this.obeyCommand()
    this.options.onReset?.()
  }

  close(): void {
    this.registers.close()
    this.setInterrupt(false)
    this.msix?.close()
  }

  private get command(): number {
    return this.config.view.getUint16(PCI_COMMAND, true)
  }

  private obeyCommand(): void {
    this.registers.update()
    this.updatePin()
    if (this.isBusMaster === this.wasBusMaster) return
    this.wasBusMaster = this.isBusMaster
    this.msix?.update()
    this.options.onBusMaster?.(this.wasBusMaster)
  }

  /** The status bit shows the device's wish, whether or not it gets out (PCI Local Bus 3.0 §6.2.3). */
  private updatePin(): void {
    const { view } = this.config
    const status = view.getUint16(PCI_STATUS, true) & ~PCI_STATUS_INTERRUPT
    view.setUint16(PCI_STATUS, status | (this.pinLevel ? PCI_STATUS_INTERRUPT : 0), true)
    const output = this.pinLevel && !this.usesMsix && (this.command & PCI_COMMAND_INTX_DISABLE) === 0
    if (output === this.pinOutput) return
    this.pinOutput = output
    this.pin.set(output)
  }
}

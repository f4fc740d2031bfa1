/**
 * A host's device as a PCI function of the guest. Configuration space is partly ours (passed-config.ts), memory BARs are
 * the device's own (passed-bar.ts), interrupts go from VFIO to KVM (interrupts.ts). The guest never has the device in a
 * state of somebody else: it is reset when it is plugged in, whenever the guest resets it or its bus, and at the end.
 *
 * @example complex.add(new VfioFunction({ name: 'vfio0', device, host, space, peers, loop, rom: 'device', ... }))
 */
import { isPowerOfTwo } from '../base/bits.ts'
import { SysError } from '../base/errors.ts'
import type { EventLoop } from '../host/event-loop.ts'
import { Bars } from '../pci/bars.ts'
import { ExpansionRom } from '../pci/expansion-rom.ts'
import type { Bar, PciFunction, PciSlot } from '../pci/function.ts'
import type { PciHost } from '../pci/host.ts'
import { Msi, msiForm } from '../pci/msi.ts'
import { Msix } from '../pci/msix.ts'
import { withMsix } from '../pci/msix-bar.ts'
import {
  PCI_CAP_ID_MSI,
  PCI_CAP_ID_MSIX,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_PIN,
} from '../pci/registers.ts'
import { findCapabilities } from './capability-list.ts'
import { LEAST_ROOM } from './config-fields.ts'
import type { ResetKind, VfioDevice } from './device.ts'
import type { GuestSpace } from './guest-space.ts'
import { PassedInterrupts } from './interrupts.ts'
import { watchIrq } from './irq-watch.ts'
import { HOST_PAGE, PassedBar } from './passed-bar.ts'
import { type PassedCapabilities, passCapabilities } from './passed-capabilities.ts'
import { PassedConfig } from './passed-config.ts'
import { defineHeader } from './passed-header.ts'
import type { PeerMemory } from './peer-memory.ts'
import { type FoundBar, findBars, findMsix, takeSnapshot } from './snapshot.ts'
import {
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
} from './uapi.ts'

const PINS = 4
const MSI_FLAGS = 2
const POWER_STATE = 3
const MAX_ROM = 2 ** 24

export interface VfioFunctionOptions {
  /** For messages, such as "vfio0". */
  readonly name: string
  readonly device: VfioDevice
  readonly host: PciHost
  readonly space: GuestSpace
  readonly peers: PeerMemory
  /** Of the thread that everything here is called on. */
  readonly loop: Pick<EventLoop, 'watch' | 'unwatch'>
  /** Expansion ROM: the device's own, none, or the bytes of a file. */
  readonly rom: 'device' | 'none' | Uint8Array
  readonly warn: (message: string) => void
  readonly debug: (message: string) => void
  /** The host wanted the device back: it is quiet, out of the guest's reach, and its descriptor can be closed. */
  readonly onGone: () => void
  /** The device reported an error that it cannot recover from. */
  readonly onError: (message: string) => void
}

/** See above. */
export class VfioFunction implements PciFunction {
  readonly name: string
  readonly bars: readonly Bar[]
  private readonly device: VfioDevice
  private readonly config: PassedConfig
  private readonly snapshot: DataView
  private readonly passedBars: readonly PassedBar[]
  private readonly registers: Bars
  private readonly rom: ExpansionRom | undefined
  private readonly interrupts: PassedInterrupts
  private readonly msi: Msi | undefined
  private readonly msix: Msix | undefined
  private readonly notices = new DisposableStack()
  private readonly said = new Set<string>()
  private capabilities: PassedCapabilities = { power: undefined, settings: [] }
  private slot: PciSlot | undefined
  private isAwake = true
  /** The host resets it without anything else. */
  private canReset = false
  private wasBusMaster = false
  /** The device is no longer ours: given back to the host, or the machine ended. */
  private isOver = false
  private resets = 0

  constructor(private readonly options: VfioFunctionOptions) {
    const { name, device, host, space, peers } = options
    this.name = name
    this.device = device
    this.snapshot = takeSnapshot(device)
    this.config = new PassedConfig(device)
    this.interrupts = new PassedInterrupts(device, host, message => this.warn(message))
    const found = findBars(this.snapshot, device.regions)
    this.msi = this.createMsi()
    this.msix = this.createMsix(found)
    const { msix } = this
    this.passedBars = found.map(bar => {
      const place = msix?.place
      const trapped = []
      if (msix !== undefined && place?.bar === bar.index)
        trapped.push({ offset: place.tableOffset, size: msix.tableSize })
      if (msix !== undefined && place?.pbaBar === bar.index)
        trapped.push({ offset: place.pbaOffset, size: msix.pbaSize })
      const warn = (message: string) => this.warn(message)
      return new PassedBar({ ...bar, name, device, trapped, space, peers, warn })
    })
    this.bars = this.passedBars.map(({ bar }) => (msix === undefined ? bar : withMsix(bar, msix)))
    defineHeader(this.config, this.pin)
    this.registers = new Bars(this.config.own, this.bars, () => this.isAwake)
    this.rom = this.createRom()
    this.config.own.onWrite(PCI_COMMAND, 2, () => this.obeyCommand())
  }

  /** Whether the device is the guest's: no longer when the host took it back, or the machine ends. */
  get isInUse(): boolean {
    return !this.isOver
  }

  /** Counters for people. */
  get statistics(): Readonly<Record<string, number>> {
    return {
      resets: this.resets,
      trapped: this.passedBars.reduce((sum, { accesses }) => sum + accesses, 0),
      mappedBytes: this.passedBars.reduce((sum, { mappedBytes }) => sum + mappedBytes, 0),
      vectors: this.interrupts.vectors,
    }
  }

  attach(slot: PciSlot): void {
    const { device, options, pin } = this
    const { loop, onError, debug } = options
    this.slot = slot
    const kind = this.resetDevice()
    this.canReset = kind === 'function' || kind === 'bus'
    if (kind === 'none') debug(`${this.name}: the host cannot reset ${device.address}`)
    this.capabilities = passCapabilities(this.config, this.snapshot, {
      msi: this.msi,
      msix: this.msix,
      isIntegrated: slot.isRoot,
      isConventional: slot.isConventional,
      canReset: this.canReset,
      onReset: () => this.reset(),
      onSleep: () => this.sleep(),
      onPower: () => this.obeyPower(),
      debug: message => debug(`${this.name}: ${message}`),
    })
    if (pin !== 0) this.interrupts.connectPin(slot.levelInterrupt(pin))
    this.registers.attach(slot)
    this.rom?.attach(slot)
    const failed = watchIrq(device, VFIO_PCI_ERR_IRQ_INDEX, loop, () =>
      onError(`${this.name} (${device.address}) reported an error that it cannot recover from`),
    )
    this.notices.use(failed)
    this.notices.use(watchIrq(device, VFIO_PCI_REQ_IRQ_INDEX, loop, () => this.giveBack()))
    this.applyInterrupts()
  }

  readConfig(offset: number, size: number): number {
    if (this.isOver) return size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1
    return this.config.read(offset, size)
  }

  writeConfig(offset: number, size: number, value: number): void {
    if (!this.isOver) this.config.write(offset, size, value)
  }

  /** Everything to power-on. Takes as long as the device does, 100 ms and more (PCI Express 5.0 §6.6.2). */
  reset(): void {
    if (this.isOver) return
    this.config.own.reset()
    this.msix?.reset()
    this.msi?.reset()
    if (this.resetDevice() === 'none' && this.canReset)
      this.warn('the host did not reset it when the guest asked for it: the device has its former state')
    this.applyInterrupts()
  }

  /** Leaves the device as at power-on. May be called again. */
  close(): void {
    if (this.isOver) return
    this.isOver = true
    this.config.own.reset()
    // From the last to the first, each whatever becomes of the others: what stays behind keeps the host's device in use.
    using rest = new DisposableStack()
    rest.defer(() => this.msi?.close())
    rest.defer(() => this.msix?.close())
    rest.defer(() => this.interrupts.close())
    for (const bar of this.passedBars) rest.defer(() => bar.close())
    rest.defer(() => this.rom?.close())
    rest.defer(() => this.registers.close())
    rest.use(this.notices)
    this.resetDevice()
  }

  private get pin(): number {
    const pin = this.snapshot.getUint8(PCI_INTERRUPT_PIN)
    return this.hasIrq(VFIO_PCI_INTX_IRQ_INDEX) && pin <= PINS ? pin : 0
  }

  private get command(): number {
    return this.config.own.view.getUint16(PCI_COMMAND, true)
  }

  private get isBusMaster(): boolean {
    return (this.command & PCI_COMMAND_MASTER) !== 0
  }

  /**
   * Memory that is not decoded must not be reached: a mapped access to it would end the machine. So the guest's way to
   * it opens after VFIO decodes and closes before it stops.
   */
  private obeyCommand(): void {
    const { command } = this
    if ((command & PCI_COMMAND_MEMORY) === 0) this.updateBars()
    this.writeDevice(PCI_COMMAND, command)
    this.updateBars()
    if (this.isBusMaster === this.wasBusMaster) return
    this.wasBusMaster = this.isBusMaster
    this.msix?.update()
    this.msi?.update()
  }

  private sleep(): void {
    this.isAwake = false
    this.updateBars()
  }

  /** The device may not know the state that was asked for. */
  private obeyPower(): void {
    const { power } = this.capabilities
    this.isAwake = power === undefined || (this.readDevice(power) & POWER_STATE) === 0
    this.updateBars()
  }

  private updateBars(): void {
    this.registers.update()
    this.rom?.update()
  }

  private applyInterrupts(): void {
    if (this.isOver) return
    const { msi, msix } = this
    this.interrupts.apply({ msix: msix?.enabled === true, msi: msi?.enabled === true ? msi.count : 0 })
  }

  /** Quiets the device, takes it out of the guest's reach and resets it. Our registers are at power-on already. */
  private resetDevice(): ResetKind {
    const { power, settings } = this.capabilities
    // First of all no more DMA.
    this.writeDevice(PCI_COMMAND, this.readDevice(PCI_COMMAND) & ~PCI_COMMAND_MASTER)
    this.interrupts.stop()
    this.wasBusMaster = false
    this.updateBars()
    this.writeDevice(PCI_COMMAND, 0)
    if (power !== undefined) this.writeDevice(power, this.readDevice(power) & ~POWER_STATE)
    this.isAwake = true
    this.resets++
    let kind: ResetKind = 'none'
    try {
      kind = this.device.reset()
    } catch (error) {
      if (!(error instanceof SysError)) throw error
      this.warn(`the host did not reset it: ${error.message}`)
    }
    // The host brings back what it found before the reset, the settings of the guest's driver with it.
    for (const at of settings) this.writeDevice(at, this.snapshot.getUint16(at, true))
    return kind
  }

  /** The host unbinds the device from vfio-pci and waits until everybody has let go of it. */
  private giveBack(): void {
    if (this.isOver) return
    this.warn(`the host wants ${this.device.address} back: it leaves the guest`)
    this.close()
    this.options.onGone()
  }

  private createMsi(): Msi | undefined {
    const at = this.capabilityAt(PCI_CAP_ID_MSI)
    if (at === undefined || !this.hasIrq(VFIO_PCI_MSI_IRQ_INDEX)) return undefined
    return new Msi(
      msiForm(this.snapshot.getUint16(at + MSI_FLAGS, true)),
      this.interrupts.msi,
      () => this.slot?.dmaRequesterId ?? 0,
      () => this.isBusMaster,
      () => this.applyInterrupts(),
    )
  }

  private createMsix(bars: readonly FoundBar[]): Msix | undefined {
    const at = this.capabilityAt(PCI_CAP_ID_MSIX)
    if (at === undefined || !this.hasIrq(VFIO_PCI_MSIX_IRQ_INDEX)) return undefined
    const place = findMsix(this.snapshot, at, bars)
    if (place === undefined) {
      this.warn('MSI-X is hidden: its table or its pending bits lie in no BAR')
      return undefined
    }
    return new Msix(
      place,
      this.interrupts.msix,
      () => this.slot?.dmaRequesterId ?? 0,
      () => this.isBusMaster,
      () => this.applyInterrupts(),
    )
  }

  private createRom(): ExpansionRom | undefined {
    const { device, options } = this
    const { rom } = options
    const own = device.regions[VFIO_PCI_ROM_REGION_INDEX]?.size ?? 0
    const length = rom === 'none' ? 0 : rom === 'device' ? own : rom.length
    const size = Math.max(HOST_PAGE, 2 ** Math.ceil(Math.log2(length)))
    if (length === 0 || size > MAX_ROM || !isPowerOfTwo(size)) return undefined
    return new ExpansionRom(this.config.own, {
      name: this.name,
      size,
      // The content is read once, and a device that sleeps gives ones for it.
      isAwake: () => this.isAwake,
      content: () => (rom instanceof Uint8Array ? rom : device.readBytes(VFIO_PCI_ROM_REGION_INDEX, 0, own)),
    })
  }

  private capabilityAt(id: number): number | undefined {
    const least = LEAST_ROOM.get(id) ?? 0
    return findCapabilities(this.snapshot).find(capability => capability.id === id && capability.room >= least)?.at
  }

  private hasIrq(index: number): boolean {
    return (this.device.irqs[index]?.count ?? 0) > 0
  }

  private readDevice(offset: number): number {
    return this.device.read(VFIO_PCI_CONFIG_REGION_INDEX, offset, 2)
  }

  private writeDevice(offset: number, value: number): void {
    this.device.write(VFIO_PCI_CONFIG_REGION_INDEX, offset, 2, value)
  }

  /** Once each: the guest decides how often it happens. */
  private warn(message: string): void {
    if (this.said.has(message)) return
    this.said.add(message)
    this.options.warn(`${this.name}: ${message}`)
  }
}

/**
 * The guest's side of a virtio PCI device: finds the capabilities in configuration space, maps the BAR, negotiates and
 * sets up queues, whose rings VirtioDriver plays. Everything goes through a real root complex and bus; only interrupts
 * and doorbells are fakes (pci-host.ts).
 *
 * @example
 * const driver = new VirtioPciDriver(device)
 * driver.start(VIRTIO_F_RING_EVENT_IDX)     // ACKNOWLEDGE to DRIVER_OK, with all queues
 * driver.queues[0].add({ in: [16] }); driver.queues[0].kick(); driver.queues[0].poll()
 */
import { Bus } from '../../src/bus/bus.ts'
import { type DmaSpace, IdentitySpace } from '../../src/memory/dma-space.ts'
import { ConfigPorts } from '../../src/pci/config-ports.ts'
import type { PciHost } from '../../src/pci/host.ts'
import {
  PCI_BRIDGE_CONTROL,
  PCI_MEMORY_BASE,
  PCI_PREF_BASE_UPPER32,
  PCI_PREF_LIMIT_UPPER32,
  PCI_PREF_MEMORY_BASE,
  PCI_PRIMARY_BUS,
} from '../../src/pci/registers.ts'
import { RootComplex } from '../../src/pci/root-complex.ts'
import type { VirtioDevice } from '../../src/virtio/device.ts'
import {
  VIRTIO_CONFIG_S_ACKNOWLEDGE,
  VIRTIO_CONFIG_S_DRIVER,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from '../../src/virtio/features.ts'
import { VirtioPci } from '../../src/virtio/pci.ts'
import * as common from '../../src/virtio/pci-common.ts'
import type { QueuePoller } from '../../src/virtio/queue-poller.ts'
import { FakePciHost } from './pci-host.ts'
import { VirtioDriver } from './virtio-driver.ts'
import { VirtioMemory } from './virtio-memory.ts'

const WINDOW = { start: 0x40_0000_0000, size: 0x1_0000_0000 }
/** 00:01.0 and 01:00.0 in the enhanced configuration window. */
const FIRST_DEVICE = 0x8000
const SECOND_BUS = 0x10_0000
const COMMAND = 0x04
const MEMORY_AND_MASTER = 6
const CAPABILITY_LIST = 0x34
const PCI_CAP_ID_VNDR = 0x09
const PCI_CAP_ID_MSIX = 0x11
const MSIX_ENABLE = 0x8000

/** Widths of the registers, by name, for `read` and `write`. */
const REGISTERS = {
  deviceFeatureSelect: [common.VIRTIO_PCI_COMMON_DFSELECT, 4],
  deviceFeature: [common.VIRTIO_PCI_COMMON_DF, 4],
  driverFeatureSelect: [common.VIRTIO_PCI_COMMON_GFSELECT, 4],
  driverFeature: [common.VIRTIO_PCI_COMMON_GF, 4],
  configMsixVector: [common.VIRTIO_PCI_COMMON_MSIX, 2],
  numQueues: [common.VIRTIO_PCI_COMMON_NUMQ, 2],
  deviceStatus: [common.VIRTIO_PCI_COMMON_STATUS, 1],
  configGeneration: [common.VIRTIO_PCI_COMMON_CFGGENERATION, 1],
  queueSelect: [common.VIRTIO_PCI_COMMON_Q_SELECT, 2],
  queueSize: [common.VIRTIO_PCI_COMMON_Q_SIZE, 2],
  queueMsixVector: [common.VIRTIO_PCI_COMMON_Q_MSIX, 2],
  queueEnable: [common.VIRTIO_PCI_COMMON_Q_ENABLE, 2],
  queueNotifyOff: [common.VIRTIO_PCI_COMMON_Q_NOFF, 2],
  queueDescLow: [common.VIRTIO_PCI_COMMON_Q_DESCLO, 4],
  queueDescHigh: [common.VIRTIO_PCI_COMMON_Q_DESCHI, 4],
  queueDriverLow: [common.VIRTIO_PCI_COMMON_Q_AVAILLO, 4],
  queueDriverHigh: [common.VIRTIO_PCI_COMMON_Q_AVAILHI, 4],
  queueDeviceLow: [common.VIRTIO_PCI_COMMON_Q_USEDLO, 4],
  queueDeviceHigh: [common.VIRTIO_PCI_COMMON_Q_USEDHI, 4],
  queueNotifyData: [common.VIRTIO_PCI_COMMON_Q_NDATA, 2],
  queueReset: [common.VIRTIO_PCI_COMMON_Q_RESET, 2],
} as const satisfies Readonly<Record<string, readonly [number, number]>>

export type RegisterName = keyof typeof REGISTERS

/** A vendor capability (struct virtio_pci_cap) as found. */
export interface FoundCapability {
  /** In configuration space. */
  readonly at: number
  readonly type: number
  readonly size: number
  readonly bar: number
  readonly offset: number
  readonly length: number
}

export interface VirtioPciDriverOptions {
  readonly memory?: VirtioMemory
  readonly space?: DmaSpace
  /** What the driver goes through instead. */
  readonly driverSpace?: DmaSpace
  readonly accessPlatform?: boolean
  readonly packed?: boolean
  readonly poller?: QueuePoller
  /** What the device gets in the place of the fake host. */
  readonly wrapHost?: (host: PciHost) => PciHost
  /** The device is behind a root port at 00:01.0, at 01:00.0. */
  readonly behindPort?: boolean
}

/** A guest with one device, at 00:01.0 or behind a port there. Its BAR is mapped. */
export class VirtioPciDriver {
  readonly memory: VirtioMemory
  readonly space: DmaSpace
  readonly host = new FakePciHost()
  readonly mmio = new Bus('mmio')
  readonly ports = new Bus('port')
  readonly root: RootComplex
  readonly transport: VirtioPci
  readonly logged: string[] = []
  readonly queues: VirtioDriver[] = []
  bar = WINDOW.start

  constructor(
    readonly device: VirtioDevice,
    private readonly options: VirtioPciDriverOptions = {},
  ) {
    const { memory = new VirtioMemory(), space, accessPlatform = false, packed = false, poller } = options
    const { wrapHost = host => host } = options
    this.memory = memory
    this.space = space ?? new IdentitySpace(memory.memory)
    this.root = new RootComplex({ host: this.host, mmio: this.mmio, windows: [WINDOW], buses: 2 })
    this.ports.add({ name: 'configuration', start: ConfigPorts.START, size: ConfigPorts.SIZE }, this.root.ports)
    this.transport = new VirtioPci({
      device,
      space: this.space,
      host: wrapHost(this.host),
      accessPlatform,
      packed,
      ...(poller === undefined ? {} : { poller }),
      debug: message => this.logged.push(message),
    })
    this.root.add(this.transport, options.behindPort === true ? { port: this.root.addPort() } : {})
    this.map(this.bar)
  }

  readConfig(offset: number, size: number): number {
    return this.root.ecam.read(this.function + offset, size)
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.root.ecam.write(this.function + offset, size, value)
  }

  /** Puts the BAR at `address` and lets the function decode it and reach memory. */
  map(address: number): void {
    this.bar = address
    if (this.options.behindPort === true) this.openPort()
    this.writeConfig(COMMAND, 2, 0)
    this.writeConfig(0x10, 4, address % 2 ** 32)
    this.writeConfig(0x14, 4, Math.floor(address / 2 ** 32))
    this.writeConfig(COMMAND, 2, MEMORY_AND_MASTER)
  }

  private get function(): number {
    return this.options.behindPort === true ? SECOND_BUS : FIRST_DEVICE
  }

  /** The port leads to bus 1, so that the device's configuration space is where it was. */
  numberBuses(): void {
    if (this.options.behindPort === true) this.root.ecam.write(FIRST_DEVICE + PCI_PRIMARY_BUS, 4, 0x0001_0100)
  }

  /** The port leads bus 1 and all of the window, by its 64-bit one. */
  private openPort(): void {
    const write = (offset: number, size: number, value: number) =>
      this.root.ecam.write(FIRST_DEVICE + offset, size, value)
    write(PCI_BRIDGE_CONTROL, 2, 0)
    this.numberBuses()
    write(PCI_MEMORY_BASE, 4, 0x0000_fff0)
    write(PCI_PREF_MEMORY_BASE, 4, 0xfff0_0000)
    write(PCI_PREF_BASE_UPPER32, 4, WINDOW.start / 2 ** 32)
    write(PCI_PREF_LIMIT_UPPER32, 4, WINDOW.start / 2 ** 32)
    write(COMMAND, 2, MEMORY_AND_MASTER)
  }

  /** Where the capabilities with PCI id `id` are, in the order of the list. */
  capabilitiesWith(id: number): readonly number[] {
    const found: number[] = []
    for (let at = this.readConfig(CAPABILITY_LIST, 1); at !== 0; at = this.readConfig(at + 1, 1))
      if (this.readConfig(at, 1) === id) found.push(at)
    return found
  }

  /** The capabilities of virtio. */
  capabilities(): readonly FoundCapability[] {
    return this.capabilitiesWith(PCI_CAP_ID_VNDR).map(at => ({
      at,
      size: this.readConfig(at + 2, 1),
      type: this.readConfig(at + 3, 1),
      bar: this.readConfig(at + 4, 1),
      offset: this.readConfig(at + 8, 4),
      length: this.readConfig(at + 12, 4),
    }))
  }

  /** The first virtio capability of `type`. */
  capability(type: number): FoundCapability {
    const found = this.capabilities().find(capability => capability.type === type)
    if (found === undefined) throw new Error(`no capability of type ${type}`)
    return found
  }

  read(name: RegisterName): number {
    const [offset, size] = REGISTERS[name]
    return this.mmio.read(this.bar + offset, size)
  }

  write(name: RegisterName, value: number): void {
    const [offset, size] = REGISTERS[name]
    this.mmio.write(this.bar + offset, size, value)
  }

  get status(): number {
    return this.read('deviceStatus')
  }

  /** All that is on offer. */
  get offered(): bigint {
    this.write('deviceFeatureSelect', 0)
    const low = this.read('deviceFeature')
    this.write('deviceFeatureSelect', 1)
    return (BigInt(this.read('deviceFeature')) << 32n) | BigInt(low)
  }

  writeFeatures(features: bigint): void {
    this.write('driverFeatureSelect', 0)
    this.write('driverFeature', Number(features & 0xffff_ffffn))
    this.write('driverFeatureSelect', 1)
    this.write('driverFeature', Number(features >> 32n))
  }

  /** Up to FEATURES_OK, with `features` besides VERSION_1; whether the device agreed. */
  negotiate(features = 0n): boolean {
    this.write('deviceStatus', VIRTIO_CONFIG_S_ACKNOWLEDGE)
    this.write('deviceStatus', VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER)
    this.writeFeatures(features | VIRTIO_F_VERSION_1)
    this.write('deviceStatus', this.status | VIRTIO_CONFIG_S_FEATURES_OK)
    return (this.status & VIRTIO_CONFIG_S_FEATURES_OK) !== 0
  }

  /** Gives queue `index` rings and enables it; whether the device did so. */
  enableQueue(index: number, features = 0n, size?: number): boolean {
    this.write('queueSelect', index)
    const queue = new VirtioDriver({
      memory: this.memory,
      space: this.space,
      ...(this.options.driverSpace === undefined ? {} : { driverSpace: this.options.driverSpace }),
      index,
      size: size ?? this.read('queueSize'),
      packed: (features & VIRTIO_F_RING_PACKED) !== 0n,
      eventIdx: (features & VIRTIO_F_RING_EVENT_IDX) !== 0n,
      indirect: (features & VIRTIO_F_RING_INDIRECT_DESC) !== 0n,
      onKick: () => this.notify(index),
    })
    this.queues[index] = queue
    const { desc, driver, device } = queue.ring.areas
    this.write('queueSize', queue.ring.size)
    this.write('queueDescLow', desc % 2 ** 32)
    this.write('queueDescHigh', Math.floor(desc / 2 ** 32))
    this.write('queueDriverLow', driver % 2 ** 32)
    this.write('queueDriverHigh', Math.floor(driver / 2 ** 32))
    this.write('queueDeviceLow', device % 2 ** 32)
    this.write('queueDeviceHigh', Math.floor(device / 2 ** 32))
    this.write('queueEnable', 1)
    return this.read('queueEnable') === 1
  }

  /** From reset to DRIVER_OK with all queues, of at most `size` entries; throws when the device does not go along. */
  start(features = 0n, size = 64): this {
    if (!this.negotiate(features)) throw new Error(`no FEATURES_OK: ${this.logged.join('; ')}`)
    for (const [index, most] of this.device.queueSizes.entries())
      if (!this.enableQueue(index, features, Math.min(most, size)))
        throw new Error(`queue ${index} is not enabled: ${this.logged.join('; ')}`)
    this.write('deviceStatus', this.status | VIRTIO_CONFIG_S_DRIVER_OK)
    return this
  }

  /** Writes queue `index`'s notification address as a guest does: the doorbell if there is one, else the BAR. */
  notify(index: number, size = 2, value = index): void {
    const { offset } = this.capability(2)
    const address = this.bar + offset + this.notifyOffset(index)
    if (!this.host.write(address)) this.mmio.write(address, size, value)
  }

  /** Of a queue's notification address in the notification structure. */
  notifyOffset(index: number): number {
    const { at } = this.capability(2)
    this.write('queueSelect', index)
    return this.read('queueNotifyOff') * this.readConfig(at + 16, 4)
  }

  /** The ISR status register; reading clears it. */
  takeIsr(): number {
    return this.mmio.read(this.bar + this.capability(3).offset, 1)
  }

  /** The pin's line, INTA of device 1. */
  get line(): boolean {
    return this.host.lines.get('1.1')?.level === true
  }

  /** Enables MSI-X with every vector unmasked: vector i sends data 0x100 + i to `address`. */
  enableMsix(address = 0xfee0_0000): void {
    const [at = 0] = this.capabilitiesWith(PCI_CAP_ID_MSIX)
    const control = this.readConfig(at + 2, 2)
    for (let vector = 0; vector <= (control & 0x7ff); vector++) {
      const entry = this.msixEntry(vector)
      this.mmio.write(entry, 4, address % 2 ** 32)
      this.mmio.write(entry + 4, 4, Math.floor(address / 2 ** 32))
      this.mmio.write(entry + 8, 4, 0x100 + vector)
      this.maskVector(vector, false)
    }
    this.writeConfig(at + 2, 2, control | MSIX_ENABLE)
  }

  /** Bit 0 of the entry's vector control. */
  maskVector(vector: number, isMasked: boolean): void {
    this.mmio.write(this.msixEntry(vector) + 12, 4, isMasked ? 1 : 0)
  }

  /** The first 32 pending bits. */
  get pendingBits(): number {
    const [at = 0] = this.capabilitiesWith(PCI_CAP_ID_MSIX)
    return this.mmio.read(this.bar + (this.readConfig(at + 8, 4) & ~7), 4)
  }

  private msixEntry(vector: number): number {
    const [at = 0] = this.capabilitiesWith(PCI_CAP_ID_MSIX)
    return this.bar + (this.readConfig(at + 4, 4) & ~7) + 16 * vector
  }

  /** Messages that vector `index` sent. */
  messages(index: number): readonly number[] {
    return this.host.vectors[index]?.sent.map(message => message.data) ?? []
  }

  close(): void {
    this.root.close()
  }
}

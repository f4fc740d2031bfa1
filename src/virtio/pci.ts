/**
 * A virtio device on PCI: VIRTIO 1.2 §4.1, modern only (no I/O BAR, no transitional ids).
 *
 * The parts: pci-layout.ts says where things are, pci-common.ts has the registers, pci-transport.ts the life that they
 * steer, pci-queue.ts one queue, pci-window.ts the way to the BAR through configuration space. Here they are put on an
 * endpoint, and interrupts leave.
 *
 * @example root.add(new VirtioPci({ device: new Rng(source), space, host, debug }))
 */
import type { BusHandler } from '../bus/bus.ts'
import type { DmaSpace } from '../memory/dma-space.ts'
import { PciEndpoint } from '../pci/endpoint.ts'
import type { Bar, PciFunction, PciSlot } from '../pci/function.ts'
import type { PciHost } from '../pci/host.ts'
import type { VirtioDevice } from './device.ts'
import { PCI_VENDOR_ID_REDHAT_QUMRANET, VIRTIO_PCI_DEVICE_ID_BASE, VIRTIO_PCI_REVISION } from './ids.ts'
import { CommonConfig } from './pci-common.ts'
import { DeviceConfig } from './pci-device-config.ts'
import { Doorbells } from './pci-doorbells.ts'
import { FeatureNegotiation } from './pci-features.ts'
import {
  type BarLayout,
  COMMON_OFFSET,
  COMMON_SIZE,
  DEVICE_OFFSET,
  ISR_OFFSET,
  layoutBar,
  NOTIFY_MULTIPLIER,
  NOTIFY_OFFSET,
  notifyCapability,
  structureCapability,
  VIRTIO_BAR,
  VIRTIO_PCI_CAP_COMMON_CFG,
  VIRTIO_PCI_CAP_DEVICE_CFG,
  VIRTIO_PCI_CAP_ISR_CFG,
} from './pci-layout.ts'
import { OnceLog } from './pci-log.ts'
import { Transport, type TransportBus } from './pci-transport.ts'
import { PciWindow } from './pci-window.ts'
import type { QueuePoller } from './queue-poller.ts'

/** ISR status, §4.1.4.5. */
const Isr = { queue: 1, config: 2 } as const

export interface VirtioPciOptions {
  readonly device: VirtioDevice
  /** The device's only way to guest memory. */
  readonly space: DmaSpace
  readonly host: PciHost
  /** An IOMMU translates for the device: offers VIRTIO_F_ACCESS_PLATFORM and insists on it. Default: false. */
  readonly accessPlatform?: boolean
  /** Offers VIRTIO_F_RING_PACKED. Default: false. */
  readonly packed?: boolean
  /** Looks at queues in the place of notifications. */
  readonly poller?: QueuePoller
  readonly debug: (message: string) => void
}

/** How often one queue's driver and device called on each other. */
export interface QueueStatistics {
  readonly notifications: number
  readonly interrupts: number
}

/** Both for all queues, and for each. Cumulative, also over resets. */
export interface TransportStatistics extends QueueStatistics {
  readonly queues: readonly QueueStatistics[]
}

/** The PCI function of a virtio device. */
export class VirtioPci implements PciFunction, TransportBus, BusHandler {
  readonly name: string
  private readonly device: VirtioDevice
  private readonly endpoint: PciEndpoint
  private readonly transport: Transport
  private readonly common: CommonConfig
  private readonly config: DeviceConfig
  private readonly window: PciWindow
  private readonly doorbells: Doorbells
  private readonly layout: BarLayout
  private isr = 0

  constructor({ device, space, host, accessPlatform = false, packed = false, poller, debug }: VirtioPciOptions) {
    this.name = device.name
    this.device = device
    this.layout = layoutBar(device.queueSizes.length)
    const negotiation = new FeatureNegotiation(device, { accessPlatform, packed })
    this.transport = new Transport(device, space, negotiation, this, new OnceLog(device.name, debug), poller)
    this.common = new CommonConfig(this.transport, this.layout.vectors)
    this.config = new DeviceConfig(device, this.transport)
    this.doorbells = new Doorbells(host, queue => this.transport.ring(queue))
    this.window = new PciWindow(() => this.endpoint.bars)
    this.endpoint = this.createEndpoint(host)
  }

  get bars(): readonly Bar[] {
    return this.endpoint.bars
  }

  attach(slot: PciSlot): void {
    this.endpoint.attach(slot)
  }

  readConfig(offset: number, size: number): number {
    return this.endpoint.readConfig(offset, size)
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.endpoint.writeConfig(offset, size, value)
  }

  reset(): void {
    this.endpoint.reset()
  }

  close(): void {
    try {
      this.device.close()
    } finally {
      this.doorbells.clear()
      this.endpoint.close()
    }
  }

  statistics(): TransportStatistics {
    const queues = this.transport.slots.map(({ notifications, interrupts }) => ({ notifications, interrupts }))
    return {
      notifications: queues.reduce((sum, queue) => sum + queue.notifications, 0),
      interrupts: queues.reduce((sum, queue) => sum + queue.interrupts, 0),
      queues,
    }
  }

  /** Reads a register of the BAR. */
  read(offset: number, size: number): number {
    if (offset < COMMON_OFFSET + COMMON_SIZE) return this.common.read(offset - COMMON_OFFSET, size)
    if (offset === ISR_OFFSET) return this.takeIsr()
    if (offset >= DEVICE_OFFSET && offset < NOTIFY_OFFSET) return this.config.read(offset - DEVICE_OFFSET, size)
    return 0
  }

  /** Writes a register of the BAR. A notification comes this way only where its doorbell is not (§4.1.5.2). */
  write(offset: number, size: number, value: number): void {
    if (offset < COMMON_OFFSET + COMMON_SIZE) this.common.write(offset - COMMON_OFFSET, size, value)
    else if (offset >= NOTIFY_OFFSET && offset < NOTIFY_OFFSET + this.layout.notifySize)
      this.transport.ring(Math.floor((offset - NOTIFY_OFFSET) / NOTIFY_MULTIPLIER))
    else if (offset >= DEVICE_OFFSET && offset < NOTIFY_OFFSET) this.config.write(offset - DEVICE_OFFSET, size, value)
  }

  queueInterrupt(vector: number): void {
    // §4.1.5.1.3: the pin and its ISR bit only without MSI-X.
    if (this.endpoint.usesMsix) this.endpoint.vector(vector)?.trigger()
    else this.raise(Isr.queue)
  }

  configInterrupt(vector: number): void {
    // §4.1.4.5.1: the ISR bit is set in any case.
    this.raise(Isr.config)
    if (this.endpoint.usesMsix) this.endpoint.vector(vector)?.trigger()
  }

  clearInterrupts(): void {
    this.isr = 0
    this.endpoint.setInterrupt(false)
    for (let index = 0; index < this.layout.vectors; index++) this.endpoint.vector(index)?.clear()
  }

  addDoorbell(queue: number): void {
    this.doorbells.add(queue)
  }

  removeDoorbell(queue: number): void {
    this.doorbells.remove(queue)
  }

  get mayAccessMemory(): boolean {
    return this.endpoint.isBusMaster
  }

  private raise(bit: number): void {
    this.isr |= bit
    this.endpoint.setInterrupt(true)
  }

  private takeIsr(): number {
    const { isr } = this
    if (isr === 0) return 0
    this.isr = 0
    this.endpoint.setInterrupt(false)
    return isr
  }

  private createEndpoint(host: PciHost): PciEndpoint {
    const { device, layout } = this
    const configSize = device.config.length
    const structures = [
      structureCapability(VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET, COMMON_SIZE),
      structureCapability(VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, 1),
      notifyCapability(layout),
      // §4.1.4.6.1: only where there is something in it.
      ...(configSize > 0 ? [structureCapability(VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_OFFSET, configSize)] : []),
    ]
    return new PciEndpoint({
      name: this.name,
      vendorId: PCI_VENDOR_ID_REDHAT_QUMRANET,
      deviceId: VIRTIO_PCI_DEVICE_ID_BASE + device.id,
      revision: VIRTIO_PCI_REVISION,
      classCode: device.classCode,
      host,
      bars: [
        {
          index: VIRTIO_BAR,
          size: layout.size,
          kind: 'memory64',
          prefetchable: true,
          name: this.name,
          handler: this,
          onMap: address => this.doorbells.move(address),
        },
      ],
      capabilities: [...structures.map(bytes => ({ bytes })), this.window],
      msix: {
        vectors: layout.vectors,
        bar: VIRTIO_BAR,
        tableOffset: layout.tableOffset,
        pbaOffset: layout.pbaOffset,
      },
      interruptPin: 1,
      onReset: () => {
        this.window.reset()
        this.common.reset()
        this.transport.reset()
      },
      // What was notified while the function could not reach memory is looked at now.
      onBusMaster: allowed => {
        if (allowed) this.transport.notifyAll()
      },
    })
  }
}

/**
 * The common configuration structure, struct virtio_pci_common_cfg. VIRTIO 1.2 §4.1.4.3. A field is accessed with its
 * own width (§4.1.3.1); anything else reads 0 and writes nothing. Without VIRTIO_F_ADMIN_VQ and NOTIF_CONFIG_DATA.
 */
import type { BusHandler } from '../bus/bus.ts'
import { COMMON_SIZE } from './pci-layout.ts'
import { type QueueSlot, VIRTIO_MSI_NO_VECTOR } from './pci-queue.ts'
import type { Transport } from './pci-transport.ts'

export const VIRTIO_PCI_COMMON_DFSELECT = 0
export const VIRTIO_PCI_COMMON_DF = 4
export const VIRTIO_PCI_COMMON_GFSELECT = 8
export const VIRTIO_PCI_COMMON_GF = 12
export const VIRTIO_PCI_COMMON_MSIX = 16
export const VIRTIO_PCI_COMMON_NUMQ = 18
export const VIRTIO_PCI_COMMON_STATUS = 20
export const VIRTIO_PCI_COMMON_CFGGENERATION = 21
export const VIRTIO_PCI_COMMON_Q_SELECT = 22
export const VIRTIO_PCI_COMMON_Q_SIZE = 24
export const VIRTIO_PCI_COMMON_Q_MSIX = 26
export const VIRTIO_PCI_COMMON_Q_ENABLE = 28
export const VIRTIO_PCI_COMMON_Q_NOFF = 30
/** Three 64-bit addresses (descriptors, driver, device), each as two 32-bit halves (§4.1.3.1). */
export const VIRTIO_PCI_COMMON_Q_DESCLO = 32
export const VIRTIO_PCI_COMMON_Q_DESCHI = 36
export const VIRTIO_PCI_COMMON_Q_AVAILLO = 40
export const VIRTIO_PCI_COMMON_Q_AVAILHI = 44
export const VIRTIO_PCI_COMMON_Q_USEDLO = 48
export const VIRTIO_PCI_COMMON_Q_USEDHI = 52
export const VIRTIO_PCI_COMMON_Q_NDATA = 56
export const VIRTIO_PCI_COMMON_Q_RESET = 58

/** Width of the field that starts at each offset; 0 where none does. */
const WIDTHS = Uint8Array.from({ length: COMMON_SIZE }, (_, offset) => {
  if (offset === VIRTIO_PCI_COMMON_STATUS || offset === VIRTIO_PCI_COMMON_CFGGENERATION) return 1
  if (offset < VIRTIO_PCI_COMMON_MSIX || (offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset < VIRTIO_PCI_COMMON_Q_NDATA))
    return offset % 4 === 0 ? 4 : 0
  return offset % 2 === 0 ? 2 : 0
})

/** The registers in front of a Transport. */
export class CommonConfig implements BusHandler {
  private deviceFeatureSelect = 0
  private driverFeatureSelect = 0
  private queueSelect = 0

  constructor(
    private readonly transport: Transport,
    /** MSI-X vectors that there are. */
    private readonly vectors: number,
  ) {}

  reset(): void {
    this.deviceFeatureSelect = 0
    this.driverFeatureSelect = 0
    this.queueSelect = 0
  }

  read(offset: number, size: number): number {
    if (WIDTHS[offset] !== size) return this.oddAccess('read', offset, size)
    const { transport } = this
    switch (offset) {
      case VIRTIO_PCI_COMMON_DFSELECT:
        return this.deviceFeatureSelect
      case VIRTIO_PCI_COMMON_DF:
        return transport.negotiation.readOffered(this.deviceFeatureSelect)
      case VIRTIO_PCI_COMMON_GFSELECT:
        return this.driverFeatureSelect
      case VIRTIO_PCI_COMMON_GF:
        return transport.negotiation.readWanted(this.driverFeatureSelect)
      case VIRTIO_PCI_COMMON_MSIX:
        return transport.configVector
      case VIRTIO_PCI_COMMON_NUMQ:
        return transport.slots.length
      case VIRTIO_PCI_COMMON_STATUS:
        return transport.status
      case VIRTIO_PCI_COMMON_CFGGENERATION:
        return transport.generation
      case VIRTIO_PCI_COMMON_Q_SELECT:
        return this.queueSelect
      default:
        return this.readQueue(transport.slots[this.queueSelect], offset)
    }
  }

  write(offset: number, size: number, value: number): void {
    if (WIDTHS[offset] !== size) {
      this.oddAccess('write', offset, size)
      return
    }
    const { transport } = this
    switch (offset) {
      case VIRTIO_PCI_COMMON_DFSELECT:
        this.deviceFeatureSelect = value
        return
      case VIRTIO_PCI_COMMON_GFSELECT:
        this.driverFeatureSelect = value
        return
      case VIRTIO_PCI_COMMON_Q_SELECT:
        this.queueSelect = value
        return
      case VIRTIO_PCI_COMMON_STATUS:
        transport.writeStatus(value)
        return
    }
    if (transport.isResetting) return
    switch (offset) {
      case VIRTIO_PCI_COMMON_GF:
        transport.negotiation.writeWanted(this.driverFeatureSelect, value)
        return
      case VIRTIO_PCI_COMMON_MSIX:
        transport.configVector = this.vector(value)
        return
      default: {
        const slot = transport.slots[this.queueSelect]
        // §4.1.4.3.2: a queue that does not exist has size 0, and nothing to set.
        if (slot !== undefined) this.writeQueue(slot, offset, value)
      }
    }
  }

  private readQueue(slot: QueueSlot | undefined, offset: number): number {
    if (slot === undefined) return offset === VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0
    switch (offset) {
      case VIRTIO_PCI_COMMON_Q_SIZE:
        return slot.size
      case VIRTIO_PCI_COMMON_Q_MSIX:
        return slot.vector
      case VIRTIO_PCI_COMMON_Q_ENABLE:
        return slot.enabled ? 1 : 0
      case VIRTIO_PCI_COMMON_Q_NOFF:
      case VIRTIO_PCI_COMMON_Q_NDATA:
        return slot.index
      case VIRTIO_PCI_COMMON_Q_RESET:
        return slot.resetting ? 1 : 0
      default:
        return slot.readAddress((offset - VIRTIO_PCI_COMMON_Q_DESCLO) >>> 2)
    }
  }

  private writeQueue(slot: QueueSlot, offset: number, value: number): void {
    const { transport } = this
    switch (offset) {
      case VIRTIO_PCI_COMMON_Q_MSIX:
        slot.vector = this.vector(value)
        return
      case VIRTIO_PCI_COMMON_Q_ENABLE:
        // §4.1.4.3.2: the driver must not write 0; queue_reset is for that.
        if (value === 1) transport.enableQueue(slot)
        return
      case VIRTIO_PCI_COMMON_Q_RESET:
        if (value === 1) transport.resetQueue(slot)
        return
      case VIRTIO_PCI_COMMON_Q_NOFF:
      case VIRTIO_PCI_COMMON_Q_NDATA:
        return
    }
    if (offset !== VIRTIO_PCI_COMMON_Q_SIZE && offset < VIRTIO_PCI_COMMON_Q_DESCLO) return
    if (slot.enabled) {
      // §4.1.4.3.2: size and addresses come before queue_enable.
      transport.log(`queue ${slot.index}: configured while it is enabled`)
      return
    }
    if (offset === VIRTIO_PCI_COMMON_Q_SIZE) slot.size = value
    else slot.writeAddress((offset - VIRTIO_PCI_COMMON_Q_DESCLO) >>> 2, value)
  }

  /** §4.1.5.1.2: a vector that cannot be had reads back as NO_VECTOR. */
  private vector(value: number): number {
    return value < this.vectors ? value : VIRTIO_MSI_NO_VECTOR
  }

  private oddAccess(kind: string, offset: number, size: number): number {
    this.transport.log(`${kind} of ${size} bytes at ${offset} of the common configuration`)
    return 0
  }
}

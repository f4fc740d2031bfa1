/**
 * Where a virtio PCI device has its structures, and the capabilities that say so. VIRTIO 1.2 §4.1.4.
 *
 * One 64-bit prefetchable BAR holds everything, each structure on pages of its own, so that a later owner of one of
 * them (a mapped doorbell page, say) gets nothing of the others:
 *
 *   0x0000  common configuration
 *   0x1000  ISR status
 *   0x2000  device configuration
 *   0x3000  notification addresses, 4 bytes a queue
 *   next    MSI-X table, then pending bits
 *
 * Each queue has a notification address of its own, which is what an ioeventfd needs: it tells the queues apart by
 * address alone, whatever was written (also with VIRTIO_F_NOTIFICATION_DATA).
 */
import { alignUp } from '../base/bits.ts'

export const VIRTIO_PCI_CAP_COMMON_CFG = 1
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2
export const VIRTIO_PCI_CAP_ISR_CFG = 3
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4
export const VIRTIO_PCI_CAP_PCI_CFG = 5

/** struct virtio_pci_cap, §4.1.4: offsets of its fields. */
export const VIRTIO_PCI_CAP_BAR = 4
export const VIRTIO_PCI_CAP_OFFSET = 8
export const VIRTIO_PCI_CAP_LENGTH = 12
/** In struct virtio_pci_cfg_cap, §4.1.4.9: pci_cfg_data. */
export const VIRTIO_PCI_CFG_DATA = 16
/** In struct virtio_pci_notify_cap, §4.1.4.4: notify_off_multiplier. */
const VIRTIO_PCI_NOTIFY_CAP_MULT = 16

/** Index of the BAR (and the one above, as it is a 64-bit one). */
export const VIRTIO_BAR = 0
export const COMMON_OFFSET = 0x0000
/** struct virtio_pci_common_cfg as of 1.2, up to queue_reset. */
export const COMMON_SIZE = 60
export const ISR_OFFSET = 0x1000
export const DEVICE_OFFSET = 0x2000
export const NOTIFY_OFFSET = 0x3000
/** Bytes between two queues' notification addresses. */
export const NOTIFY_MULTIPLIER = 4

const PAGE_SIZE = 0x1000
const PCI_CAP_ID_VNDR = 0x09
const CAP_SIZE = 16
const MSIX_ENTRY_SIZE = 16
const MSIX_MAX_VECTORS = 2048

/** The part of the layout that depends on the number of queues. */
export interface BarLayout {
  readonly notifySize: number
  /** One for the configuration and one for each queue. */
  readonly vectors: number
  readonly tableOffset: number
  readonly pbaOffset: number
  /** Of the whole BAR; a power of two. */
  readonly size: number
}

/** The BAR of a device with `queues` queues. */
export function layoutBar(queues: number): BarLayout {
  const vectors = Math.min(queues + 1, MSIX_MAX_VECTORS)
  const notifySize = Math.max(queues, 1) * NOTIFY_MULTIPLIER
  const tableOffset = NOTIFY_OFFSET + alignUp(notifySize, PAGE_SIZE)
  const pbaOffset = tableOffset + alignUp(vectors * MSIX_ENTRY_SIZE, PAGE_SIZE)
  const end = pbaOffset + PAGE_SIZE
  return { notifySize, vectors, tableOffset, pbaOffset, size: 2 ** Math.ceil(Math.log2(end)) }
}

/** A struct virtio_pci_cap for a structure in the BAR. */
export function structureCapability(type: number, offset: number, length: number): Uint8Array {
  return capability(CAP_SIZE, type, VIRTIO_BAR, offset, length)
}

/** struct virtio_pci_notify_cap, §4.1.4.4. */
export function notifyCapability(layout: BarLayout): Uint8Array {
  const bytes = capability(CAP_SIZE + 4, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_BAR, NOTIFY_OFFSET, layout.notifySize)
  new DataView(bytes.buffer).setUint32(VIRTIO_PCI_NOTIFY_CAP_MULT, NOTIFY_MULTIPLIER, true)
  return bytes
}

/** struct virtio_pci_cfg_cap, §4.1.4.9: the window into the BARs, pointing nowhere yet. */
export function windowCapability(): Uint8Array {
  return capability(CAP_SIZE + 4, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0)
}

function capability(size: number, type: number, bar: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, PCI_CAP_ID_VNDR)
  view.setUint8(2, size)
  view.setUint8(3, type)
  view.setUint8(VIRTIO_PCI_CAP_BAR, bar)
  view.setUint32(VIRTIO_PCI_CAP_OFFSET, offset, true)
  view.setUint32(VIRTIO_PCI_CAP_LENGTH, length, true)
  return bytes
}

/** Device types (VIRTIO 1.2 §5, linux/virtio_ids.h) and their PCI identity (§4.1.2). */

export const VIRTIO_ID_NET = 1
export const VIRTIO_ID_BLOCK = 2
export const VIRTIO_ID_CONSOLE = 3
export const VIRTIO_ID_RNG = 4
export const VIRTIO_ID_BALLOON = 5
export const VIRTIO_ID_SCSI = 8
export const VIRTIO_ID_9P = 9
export const VIRTIO_ID_VSOCK = 19
export const VIRTIO_ID_IOMMU = 23
export const VIRTIO_ID_MEM = 24
export const VIRTIO_ID_FS = 26
export const VIRTIO_ID_PMEM = 27

export const PCI_VENDOR_ID_REDHAT_QUMRANET = 0x1af4
/** A modern device's PCI device id is this plus its type. */
export const VIRTIO_PCI_DEVICE_ID_BASE = 0x1040
/** A device that has no transitional predecessor, and every modern one, has revision 1 or more. */
export const VIRTIO_PCI_REVISION = 1

/**
 * The feature bits that belong to no device type (VIRTIO 1.2 §6), as masks, and the bits of the status register
 * (VIRTIO 1.2 §2.1). Devices declare theirs in the same way: `VIRTIO_BLK_F_RO = 1n << 5n`.
 */

/** Indirect descriptors, §2.7.5.3 and §2.8.7. */
export const VIRTIO_F_RING_INDIRECT_DESC = 1n << 28n
/** used_event and avail_event, §2.7.7; for packed rings descriptor events, §2.8.10. */
export const VIRTIO_F_RING_EVENT_IDX = 1n << 29n
/** Not a legacy device; bulkhead has no other. */
export const VIRTIO_F_VERSION_1 = 1n << 32n
/** Addresses are those of the platform: I/O virtual ones where there is an IOMMU. */
export const VIRTIO_F_ACCESS_PLATFORM = 1n << 33n
/** The packed layout, §2.8. */
export const VIRTIO_F_RING_PACKED = 1n << 34n
/** Buffers are used in the order in which they were made available; never offered. */
export const VIRTIO_F_IN_ORDER = 1n << 35n
/** Memory accesses are ordered as the platform says (for hardware), not as between CPUs. */
export const VIRTIO_F_ORDER_PLATFORM = 1n << 36n
/** Single root I/O virtualization; never offered. */
export const VIRTIO_F_SR_IOV = 1n << 37n
/** A notification carries the queue's position, §4.1.5.2. */
export const VIRTIO_F_NOTIFICATION_DATA = 1n << 38n
/** Queues can be reset one by one, §2.6.1. */
export const VIRTIO_F_RING_RESET = 1n << 40n

/** Those of the above that concern rings: a device may decline them (`VirtioDevice.transportFeatures`). */
export const RING_FEATURES =
  VIRTIO_F_RING_INDIRECT_DESC |
  VIRTIO_F_RING_EVENT_IDX |
  VIRTIO_F_RING_PACKED |
  VIRTIO_F_NOTIFICATION_DATA |
  VIRTIO_F_RING_RESET

/** Bits 0-23 and 50-127 are the device type's, §2.2. */
export const DEVICE_FEATURES = ((1n << 24n) - 1n) | (((1n << 14n) - 1n) << 50n)

export const VIRTIO_CONFIG_S_ACKNOWLEDGE = 1
export const VIRTIO_CONFIG_S_DRIVER = 2
export const VIRTIO_CONFIG_S_DRIVER_OK = 4
export const VIRTIO_CONFIG_S_FEATURES_OK = 8
export const VIRTIO_CONFIG_S_NEEDS_RESET = 0x40
export const VIRTIO_CONFIG_S_FAILED = 0x80

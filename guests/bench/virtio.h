/* virtio over PCI, VIRTIO 1.2 §4.1, modern only: the driver's side. */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "interrupts.h"

#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLOCK 2
#define VIRTIO_ID_ENTROPY 4
#define VIRTIO_ID_IOMMU 23

#define VIRTIO_F_RING_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_RING_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33)

#define DEVICE_NEEDS_RESET 64

/* struct virtio_pci_common_cfg, VIRTIO 1.2 §4.1.4.3, as far as it is used here. */
struct common_config {
  uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
  uint16_t config_msix_vector, num_queues;
  uint8_t device_status, config_generation;
  uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
  uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

struct device {
  uint16_t id;
  uint16_t address; /* bus << 8 | device << 3 | function: its endpoint at an IOMMU. */
  volatile struct common_config *common;
  volatile uint8_t *config;
  uint8_t *notify;
  uint32_t notify_multiplier;
  volatile uint32_t *msix; /* The table; NULL: polled queues only, as QEMU's IOMMU has it. */
  uint64_t features; /* Negotiated. */
  uint32_t domain; /* Of the IOMMU; 0: none (dma.h). */
  bool probed;
};

/* Remembers a function if it is a modern virtio device, and programs its MSI-X vector 0, if any (all queues share it). */
struct pci_function;
void virtio_found(const struct pci_function *function);
/* Device `index` of this kind; the test fails if there is none. */
struct device *virtio_device(uint16_t id, unsigned index);
/* Sets where the interrupts of vector 0 go; it is masked meanwhile. */
void virtio_set_message(struct device *device, uint64_t address);
/* Resets the device and negotiates those of `wanted` that it offers; queues come next, then `virtio_start`. */
void virtio_reset(struct device *device, uint64_t wanted);
void virtio_start(struct device *device);

#endif

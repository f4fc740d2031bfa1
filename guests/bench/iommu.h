/* virtio-iommu, VIRTIO 1.2 §5.13: the driver's side. Endpoints are devices; their ids are their places on PCI. */
#ifndef IOMMU_H
#define IOMMU_H

#include "virtio.h"

#define VIRTIO_IOMMU_F_MMIO (1ull << 5)

#define VIRTIO_IOMMU_S_OK 0

#define VIRTIO_IOMMU_MAP_F_READ 1u
#define VIRTIO_IOMMU_MAP_F_WRITE 2u
#define VIRTIO_IOMMU_MAP_F_MMIO 4u

/* Requests that one notification can be for. */
#define IOMMU_BATCH 64

/* A fault as the device reports it, §5.13.6.9. */
struct iommu_fault {
  uint8_t reason, reserved0[3];
  uint32_t flags, endpoint, reserved1;
  uint64_t address;
};

/* Starts the machine's IOMMU; nothing when it has been started before. The test fails if there is none. */
void iommu_start(void);
/* Features that both sides have. */
uint64_t iommu_features(void);

/* One request and its answer, a status. Addresses are inclusive. */
uint8_t iommu_attach(uint32_t domain, uint32_t endpoint);
uint8_t iommu_detach(uint32_t domain, uint32_t endpoint);
uint8_t iommu_map(uint32_t domain, uint64_t start, uint64_t end, uint64_t phys, uint32_t flags);
uint8_t iommu_unmap(uint32_t domain, uint64_t start, uint64_t end);
uint8_t iommu_probe(uint32_t endpoint);

/* Requests for the next `iommu_flush`; at most IOMMU_BATCH. */
void iommu_add_map(uint32_t domain, uint64_t start, uint64_t end, uint64_t phys, uint32_t flags);
void iommu_add_unmap(uint32_t domain, uint64_t start, uint64_t end);
/* Submits them with one notification and waits for all answers; the test fails if one is not OK. */
void iommu_flush(void);

/* What endpoints in no domain may do, §5.13.4. */
void iommu_set_bypass(bool bypass);
/* The next fault that was reported; false: none. */
bool iommu_take_fault(struct iommu_fault *fault);
/* Whether there is one, or comes to be within some milliseconds. */
bool iommu_wait_fault(struct iommu_fault *fault);

#endif

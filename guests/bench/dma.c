/* Domains hold mappings as long as they have a member, VIRTIO 1.2 §5.13.6.3 and §5.13.6.4. */
#include "dma.h"
#include "iommu.h"
#include "memory.h"
#include "print.h"

#define PAGE 4096ul

static unsigned members[MAX_DOMAIN + 1];
/* Of single buffers. */
static unsigned strict_mappings;

void dma_move(struct device *device, uint32_t domain) {
  if (device->domain == domain) return;
  iommu_start();
  /* §5.13.6.7.2: before the endpoint is used. Its reserved regions lie below IOVA_START, and above the identity. */
  if (!device->probed && iommu_probe(device->address) != VIRTIO_IOMMU_S_OK) fail("PROBE is refused");
  device->probed = true;
  if (domain == 0 && iommu_detach(device->domain, device->address) != VIRTIO_IOMMU_S_OK) fail("DETACH is refused");
  if (domain != 0 && iommu_attach(domain, device->address) != VIRTIO_IOMMU_S_OK) fail("ATTACH is refused");
  if (device->domain != 0) members[device->domain]--;
  members[domain]++;
  device->domain = domain;
}

static uint64_t last_byte(uint64_t address, uint64_t length) { return ((address + length - 1) | (PAGE - 1)); }

void dma_map(struct device *device, uint64_t address, uint64_t length, bool device_writes) {
  if (device->domain != STRICT_DOMAIN) return;
  uint64_t start = address & ~(PAGE - 1);
  uint32_t flags = device_writes ? VIRTIO_IOMMU_MAP_F_WRITE : VIRTIO_IOMMU_MAP_F_READ;
  if (iommu_map(STRICT_DOMAIN, start, last_byte(address, length), start, flags) != VIRTIO_IOMMU_S_OK)
    fail("MAP is refused");
  strict_mappings++;
}

void dma_unmap(struct device *device, uint64_t address, uint64_t length) {
  if (device->domain != STRICT_DOMAIN) return;
  if (iommu_unmap(STRICT_DOMAIN, address & ~(PAGE - 1), last_byte(address, length)) != VIRTIO_IOMMU_S_OK)
    fail("UNMAP is refused");
  strict_mappings--;
}

void dma_start(struct device *device, enum dma mode) {
  uint32_t domain = mode == DMA_STATIC ? STATIC_DOMAIN : mode == DMA_STRICT ? STRICT_DOMAIN : 0;
  uint64_t end = mode == DMA_STATIC ? DATA_END : DATA_START;
  uint32_t flags = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE;
  if (domain != 0 && (device->features & VIRTIO_F_ACCESS_PLATFORM) == 0) fail("the device is not behind an IOMMU");
  bool is_new = domain != 0 && members[domain] == 0;
  dma_move(device, domain);
  if (is_new && iommu_map(domain, 0, end - 1, 0, flags) != VIRTIO_IOMMU_S_OK) fail("MAP is refused");
  if (domain != STRICT_DOMAIN) return;
  /* Resets took the buffers back that an earlier test left with its device. */
  if (!is_new && strict_mappings > 0) dma_unmap(device, DATA_START, DATA_END - DATA_START);
  strict_mappings = 0;
}

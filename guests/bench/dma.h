/* How the devices under test reach memory: all of it, or through the IOMMU. */
#ifndef DMA_H
#define DMA_H

#include "virtio.h"

enum dma {
  /* No IOMMU, or an endpoint in no domain, which bypasses it. */
  DMA_DIRECT,
  /* One mapping of all memory, made once. */
  DMA_STATIC,
  /* Data buffers are mapped for each request and unmapped behind it, as by an operating system that is strict. */
  DMA_STRICT,
};

/* Domains. Those of the modes; others are for tests of the IOMMU itself. */
#define STATIC_DOMAIN 1
#define STRICT_DOMAIN 2
#define TEST_DOMAIN 3
#define OTHER_DOMAIN 4
#define MAX_DOMAIN 4

/* Puts a device that was just reset into this mode. */
void dma_start(struct device *device, enum dma mode);
/* Moves a device to a domain, 0: to none. */
void dma_move(struct device *device, uint32_t domain);
/* Before and after a request on the buffer; I/O virtual addresses are physical addresses. Nothing, unless strict. */
void dma_map(struct device *device, uint64_t address, uint64_t length, bool device_writes);
void dma_unmap(struct device *device, uint64_t address, uint64_t length);

#endif

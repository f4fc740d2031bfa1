/*
 * What must not happen behind an IOMMU: accesses that no mapping allows, interrupts that it does not lead anywhere.
 * These tests report what they saw; the reader compares.
 */
#include "iommu.h"
#include "memory.h"
#include "print.h"
#include "queue.h"
#include "test.h"

#define PAGE 4096ul
#define VIRTIO_BLK_T_IN 0
#define SECTOR 512
#define CANARY 0xa5
/* Where the device is told to write: memory that is there, at an address of its own. */
#define BUFFER DATA_START
#define BUFFER_IOVA (IOVA_START + 0x5000)
#define DOORBELL_IOVA 0x4000000000ul
#define WAIT_READS 2000000
#define READ_WRITE (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)

struct request {
  uint32_t type, reserved;
  uint64_t sector;
  volatile uint8_t status;
};

static struct request request __attribute__((aligned(64)));
static struct queue queue;

/* A disk in TEST_DOMAIN with all that it needs but a buffer, and one read of a sector into BUFFER_IOVA laid out. */
static struct device *start(const struct options *options) {
  struct device *device = virtio_device(VIRTIO_ID_BLOCK, options->device);
  virtio_reset(device, ring_features(options));
  bool is_used = device->domain == TEST_DOMAIN;
  dma_move(device, TEST_DOMAIN);
  if (is_used && iommu_unmap(TEST_DOMAIN, 0, IOVA_END) != VIRTIO_IOMMU_S_OK) fail("UNMAP is refused");
  if (iommu_map(TEST_DOMAIN, 0, DATA_START - 1, 0, READ_WRITE) != VIRTIO_IOMMU_S_OK) fail("MAP is refused");
  queue_set_up(&queue, device, 0, 0, 3, options->interrupts);
  virtio_start(device);
  struct part parts[] = {
      {(uintptr_t)&request, 16, false}, {BUFFER_IOVA, SECTOR, true}, {(uintptr_t)&request.status, 1, true}};
  queue_lay(&queue, 0, parts, 3);
  memset((void *)BUFFER, CANARY, PAGE);
  return device;
}

static void map_buffer(uint32_t flags) {
  if (iommu_map(TEST_DOMAIN, BUFFER_IOVA, BUFFER_IOVA + PAGE - 1, BUFFER, flags) != VIRTIO_IOMMU_S_OK)
    fail("MAP is refused");
}

static void unmap_buffer(void) {
  if (iommu_unmap(TEST_DOMAIN, BUFFER_IOVA, BUFFER_IOVA + PAGE - 1) != VIRTIO_IOMMU_S_OK) fail("UNMAP is refused");
}

/* One read of the first sector: 0 when it was answered, DEVICE_NEEDS_RESET when the device gave up. */
static uint8_t read_sector(struct device *device) {
  request.type = VIRTIO_BLK_T_IN;
  request.sector = 0;
  request.status = 0xff;
  queue_arm(&queue);
  queue_submit(&queue, 0);
  queue_notify(&queue);
  for (unsigned i = 0; i < WAIT_READS; i++) {
    if (queue_take(&queue, NULL) >= 0) return 0;
    /* A read of the status leaves the guest. */
    if (i % 1024 == 0 && (device->common->device_status & DEVICE_NEEDS_RESET) != 0) return DEVICE_NEEDS_RESET;
    pause();
  }
  fail("the device neither answers nor gives up");
}

static uint64_t canaries_lost(void) {
  const volatile uint8_t *bytes = (const volatile uint8_t *)BUFFER;
  uint64_t lost = 0;
  for (unsigned i = 0; i < PAGE; i++) lost += bytes[i] != CANARY;
  return lost;
}

/* All that was reported since the last look: how many, and the first one. */
static void report_faults(const struct options *options, const struct device *device) {
  struct iommu_fault first = {0}, other;
  uint64_t count = 0;
  if (iommu_wait_fault(&first))
    for (count = 1; iommu_take_fault(&other);) count++;
  report(options->word, "faults", count, "");
  report(options->word, "reason", first.reason, "");
  report(options->word, "flags", first.flags, "");
  report(options->word, "own", first.endpoint == device->address, "");
  report(options->word, "offset", first.address - BUFFER_IOVA, "");
}

/* A read that must fail; then, after a reset and with a mapping, one that must not. */
static void report_refusal(const struct options *options, struct device *device) {
  report(options->word, "status", read_sector(device), "");
  report_faults(options, device);
  report(options->word, "lost", canaries_lost(), "");
  iommu_set_bypass(true);
  device = start(options);
  map_buffer(VIRTIO_IOMMU_MAP_F_WRITE);
  report(options->word, "recovered", read_sector(device) == 0 && request.status == 0 && canaries_lost() > 0, "");
}

/* The buffer was never mapped. */
void test_iommu_unmapped(const struct options *options) { report_refusal(options, start(options)); }

/* It was, and served a request before. */
void test_iommu_removed(const struct options *options) {
  struct device *device = start(options);
  map_buffer(READ_WRITE);
  if (read_sector(device) != 0 || canaries_lost() == 0) fail("a mapped buffer is not written");
  unmap_buffer();
  memset((void *)BUFFER, CANARY, PAGE);
  report_refusal(options, device);
}

void test_iommu_read_only(const struct options *options) {
  struct device *device = start(options);
  map_buffer(VIRTIO_IOMMU_MAP_F_READ);
  report_refusal(options, device);
}

/* In no domain, and nothing bypasses the IOMMU. */
void test_iommu_blocked(const struct options *options) {
  struct device *device = start(options);
  map_buffer(READ_WRITE);
  iommu_set_bypass(false);
  dma_move(device, 0);
  report_refusal(options, device);
}

static uint64_t interrupts_of_read(struct device *device) {
  uint64_t before = interrupts_taken;
  /* Starts the tick anew, which counts as an interrupt too. */
  allow_interrupts(true);
  if (read_sector(device) != 0) fail("the device gave up");
  for (unsigned i = 0; i < WAIT_READS && interrupts_taken == before; i++) pause();
  return interrupts_taken - before;
}

/* The doorbell at an address that the driver chose: with a mapping, without, and with one again. */
void test_iommu_msi(const struct options *options) {
  struct device *device = start(options);
  uint32_t flags = VIRTIO_IOMMU_MAP_F_WRITE;
  struct iommu_fault fault;
  if (options->interrupts != INTERRUPTS_TAKEN) fail("this test is about interrupts=taken");
  if ((iommu_features() & VIRTIO_IOMMU_F_MMIO) != 0) flags |= VIRTIO_IOMMU_MAP_F_MMIO;
  map_buffer(READ_WRITE);
  virtio_set_message(device, DOORBELL_IOVA);
  for (unsigned round = 0; round < 3; round++) {
    bool mapped = round != 1;
    if (mapped && iommu_map(TEST_DOMAIN, DOORBELL_IOVA, DOORBELL_IOVA + PAGE - 1, LAPIC_START, flags) != 0)
      fail("MAP of the doorbell is refused");
    if (!mapped && iommu_unmap(TEST_DOMAIN, DOORBELL_IOVA, DOORBELL_IOVA + PAGE - 1) != 0) fail("UNMAP is refused");
    report(options->word, round == 0 ? "first" : round == 1 ? "unmapped" : "again", interrupts_of_read(device), "");
    if (mapped) continue;
    bool reported = iommu_take_fault(&fault);
    report(options->word, "faults", reported, "");
    report(options->word, "reason", reported ? fault.reason : 0, "");
    report(options->word, "own", reported && fault.endpoint == device->address, "");
    report(options->word, "offset", reported ? fault.address - DOORBELL_IOVA : 1, "");
  }
  virtio_set_message(device, LAPIC_START);
}

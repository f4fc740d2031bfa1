/*
 * The request queue is polled, as Linux does it. Requests lie in slots: what the device reads, and behind it what it
 * writes. A slot's chain is laid out again only when its request is of another kind than the one before.
 */
#include "iommu.h"
#include "memory.h"
#include "print.h"
#include "queue.h"

#define VIRTIO_IOMMU_F_INPUT_RANGE (1ull << 0)
#define VIRTIO_IOMMU_F_DOMAIN_RANGE (1ull << 1)
#define VIRTIO_IOMMU_F_MAP_UNMAP (1ull << 2)
#define VIRTIO_IOMMU_F_PROBE (1ull << 4)
#define VIRTIO_IOMMU_F_BYPASS_CONFIG (1ull << 6)

#define VIRTIO_IOMMU_T_ATTACH 1
#define VIRTIO_IOMMU_T_DETACH 2
#define VIRTIO_IOMMU_T_MAP 3
#define VIRTIO_IOMMU_T_UNMAP 4
#define VIRTIO_IOMMU_T_PROBE 5

#define REQUEST_QUEUE 0
#define EVENT_QUEUE 1
/* Areas of memory that no test uses for its own queues. */
#define REQUEST_AREA 8
#define EVENT_AREA 9
#define EVENTS 16
#define MAX_PROBE_BYTES 4096
#define FAULT_WAIT_READS 2000000

/* struct virtio_iommu_config, §5.13.4. */
struct iommu_config {
  /* 64-bit fields in halves, as drivers access them (§4.1.3.1). */
  uint32_t page_size_mask[2];
  uint32_t input_start[2], input_end[2];
  uint32_t domain_start, domain_end;
  uint32_t probe_size;
  uint8_t bypass;
};

struct head {
  uint8_t type, reserved[3];
};

struct tail {
  uint8_t status, reserved[3];
};

/* Requests as the device reads them, §5.13.6. */
struct attach_request {
  struct head head;
  uint32_t domain, endpoint, flags;
  uint8_t reserved[4];
};

struct map_request {
  struct head head;
  uint32_t domain;
  uint64_t virt_start, virt_end, phys_start;
  uint32_t flags;
} __attribute__((packed));

struct unmap_request {
  struct head head;
  uint32_t domain;
  uint64_t virt_start, virt_end;
  uint8_t reserved[4];
} __attribute__((packed));

struct probe_request {
  struct head head;
  uint32_t endpoint;
  uint8_t reserved[64];
};

struct slot {
  union {
    struct head head;
    struct attach_request attach;
    struct map_request map;
    struct unmap_request unmap;
    struct probe_request probe;
  };
  struct tail tail;
};

static struct device *iommu;
static struct queue requests, events;
static struct slot slots[IOMMU_BATCH] __attribute__((aligned(64)));
static uint8_t laid[IOMMU_BATCH]; /* Type of request that the slot's chain is for. */
static unsigned added;
static struct iommu_fault faults[EVENTS];
/* Properties, and the tail at a place that depends on the device. */
static uint8_t probe_reply[MAX_PROBE_BYTES + sizeof(struct tail)] __attribute__((aligned(4096)));
static uint32_t probe_size;

static volatile struct iommu_config *config(void) { return (volatile struct iommu_config *)iommu->config; }

static uint64_t read64(const volatile uint32_t *halves) { return halves[0] | (uint64_t)halves[1] << 32; }

static void check_config(void) {
  uint64_t start = read64(config()->input_start), end = read64(config()->input_end);
  if ((config()->page_size_mask[0] & 4096) == 0) fail("the IOMMU cannot map pages of 4 KiB");
  if ((iommu->features & VIRTIO_IOMMU_F_INPUT_RANGE) != 0 && (start > 0 || end < IOVA_END))
    fail("the IOMMU's input range is too small for the tests");
  if ((iommu->features & VIRTIO_IOMMU_F_DOMAIN_RANGE) != 0 && (config()->domain_start > 1 || config()->domain_end < 8))
    fail("the IOMMU's domain range is too small for the tests");
  probe_size = (iommu->features & VIRTIO_IOMMU_F_PROBE) != 0 ? config()->probe_size : 0;
  if (probe_size > MAX_PROBE_BYTES) fail("the IOMMU's properties are too long for the tests");
}

void iommu_start(void) {
  if (iommu != NULL) return;
  iommu = virtio_device(VIRTIO_ID_IOMMU, 0);
  virtio_reset(iommu, VIRTIO_IOMMU_F_INPUT_RANGE | VIRTIO_IOMMU_F_DOMAIN_RANGE | VIRTIO_IOMMU_F_MAP_UNMAP |
                          VIRTIO_IOMMU_F_PROBE | VIRTIO_IOMMU_F_MMIO | VIRTIO_IOMMU_F_BYPASS_CONFIG |
                          VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC);
  if ((iommu->features & VIRTIO_IOMMU_F_MAP_UNMAP) == 0) fail("the IOMMU does not map");
  check_config();
  queue_set_up(&requests, iommu, REQUEST_QUEUE, REQUEST_AREA, 2, INTERRUPTS_OFF);
  queue_set_up(&events, iommu, EVENT_QUEUE, EVENT_AREA, 1, INTERRUPTS_OFF);
  if (requests.slots < IOMMU_BATCH || events.slots < EVENTS) fail("the IOMMU's queues are too small for the tests");
  virtio_start(iommu);
  for (unsigned i = 0; i < EVENTS; i++) {
    queue_lay(&events, i, &(struct part){(uintptr_t)&faults[i], sizeof faults[i], true}, 1);
    queue_submit(&events, i);
  }
  queue_notify(&events);
}

uint64_t iommu_features(void) { return iommu->features; }

/* The next slot, with its chain laid out for a request of `type` that is `length` bytes long. */
static struct slot *add(uint8_t type, uint32_t length) {
  if (added == IOMMU_BATCH) fail("too many requests in a batch");
  unsigned index = added++;
  struct slot *slot = &slots[index];
  if (laid[index] != type) {
    struct part parts[] = {{(uintptr_t)slot, length, false}, {(uintptr_t)&slot->tail, sizeof slot->tail, true}};
    if (type == VIRTIO_IOMMU_T_PROBE) parts[1] = (struct part){(uintptr_t)probe_reply, probe_size + sizeof slot->tail, true};
    queue_lay(&requests, index, parts, 2);
    memset(slot, 0, sizeof *slot);
    slot->head.type = type;
    laid[index] = type;
  }
  slot->tail.status = 0xff;
  queue_submit(&requests, index);
  return slot;
}

/* Waits for the answers of all that was added. */
static void submit(void) {
  queue_notify(&requests);
  while (added > 0) {
    queue_wait(&requests);
    while (queue_take(&requests, NULL) >= 0) added--;
  }
  /* After the last one: nobody wants interrupts, and there is nothing left to race with. */
  queue_arm(&requests);
}

static uint8_t answer(struct slot *slot) {
  submit();
  return ((volatile struct tail *)&slot->tail)->status;
}

uint8_t iommu_attach(uint32_t domain, uint32_t endpoint) {
  struct slot *slot = add(VIRTIO_IOMMU_T_ATTACH, sizeof slot->attach);
  slot->attach.domain = domain;
  slot->attach.endpoint = endpoint;
  return answer(slot);
}

/* The layout is the same, with reserved bytes in place of the flags. */
uint8_t iommu_detach(uint32_t domain, uint32_t endpoint) {
  struct slot *slot = add(VIRTIO_IOMMU_T_DETACH, sizeof slot->attach);
  slot->attach.domain = domain;
  slot->attach.endpoint = endpoint;
  return answer(slot);
}

static struct slot *add_map(uint32_t domain, uint64_t start, uint64_t end, uint64_t phys, uint32_t flags) {
  struct slot *slot = add(VIRTIO_IOMMU_T_MAP, sizeof slot->map);
  slot->map.domain = domain;
  slot->map.virt_start = start;
  slot->map.virt_end = end;
  slot->map.phys_start = phys;
  slot->map.flags = flags;
  return slot;
}

static struct slot *add_unmap(uint32_t domain, uint64_t start, uint64_t end) {
  struct slot *slot = add(VIRTIO_IOMMU_T_UNMAP, sizeof slot->unmap);
  slot->unmap.domain = domain;
  slot->unmap.virt_start = start;
  slot->unmap.virt_end = end;
  return slot;
}

uint8_t iommu_map(uint32_t domain, uint64_t start, uint64_t end, uint64_t phys, uint32_t flags) {
  return answer(add_map(domain, start, end, phys, flags));
}

uint8_t iommu_unmap(uint32_t domain, uint64_t start, uint64_t end) { return answer(add_unmap(domain, start, end)); }

uint8_t iommu_probe(uint32_t endpoint) {
  if (probe_size == 0) fail("the IOMMU answers no PROBE");
  struct slot *slot = add(VIRTIO_IOMMU_T_PROBE, sizeof slot->probe);
  slot->probe.endpoint = endpoint;
  probe_reply[probe_size] = 0xff;
  submit();
  return ((volatile struct tail *)(probe_reply + probe_size))->status;
}

void iommu_add_map(uint32_t domain, uint64_t start, uint64_t end, uint64_t phys, uint32_t flags) {
  add_map(domain, start, end, phys, flags);
}

void iommu_add_unmap(uint32_t domain, uint64_t start, uint64_t end) { add_unmap(domain, start, end); }

void iommu_flush(void) {
  unsigned count = added;
  submit();
  for (unsigned i = 0; i < count; i++)
    if (((volatile struct tail *)&slots[i].tail)->status != VIRTIO_IOMMU_S_OK) fail("the IOMMU refuses a request");
}

void iommu_set_bypass(bool bypass) {
  if ((iommu->features & VIRTIO_IOMMU_F_BYPASS_CONFIG) == 0) fail("the IOMMU's bypass cannot be chosen");
  config()->bypass = bypass;
  if (config()->bypass != bypass) fail("the IOMMU does not keep its bypass");
}

bool iommu_take_fault(struct iommu_fault *fault) {
  uint32_t length;
  int slot = queue_take(&events, &length);
  if (slot < 0) return false;
  *fault = faults[slot];
  if (length != sizeof *fault) fail("a fault event has another length than its structure");
  queue_submit(&events, slot);
  queue_arm(&events);
  queue_notify(&events);
  return true;
}

bool iommu_wait_fault(struct iommu_fault *fault) {
  for (unsigned i = 0; i < FAULT_WAIT_READS; i++) {
    if (iommu_take_fault(fault)) return true;
    pause();
  }
  return false;
}

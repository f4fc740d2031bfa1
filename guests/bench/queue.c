/*
 * Split virtqueues. Ring indexes are read through volatile and ordered as VIRTIO 1.2 §2.7.13 demands; x86 needs a fence
 * only between a store and a later load.
 */
#include "queue.h"
#include "memory.h"
#include "print.h"

#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1
#define VIRTQ_USED_F_NO_NOTIFY 1
#define MAX_SIZE 256
#define TIME_LIMIT_MS 10000

struct descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags, next;
};

/* Inside a ring area. */
#define AVAIL_OFFSET 0x1000
#define USED_OFFSET 0x2000
#define TABLES_OFFSET 0x4000

static uint64_t time_limit_cycles;

void queue_clock(uint64_t tsc_khz) { time_limit_cycles = tsc_khz * TIME_LIMIT_MS; }

static void set_address(volatile uint32_t *to, const volatile void *address) {
  to[0] = (uintptr_t)address;
  to[1] = (uintptr_t)address >> 32;
}

void queue_set_up(struct queue *queue, struct device *device, uint16_t index, unsigned area, unsigned parts,
                  enum interrupts interrupts) {
  volatile struct common_config *common = device->common;
  uint8_t *rings = (uint8_t *)(RINGS_START + area * RING_BYTES);
  memset(rings, 0, TABLES_OFFSET);
  common->queue_select = index;
  uint16_t size = common->queue_size;
  if (size == 0) fail("the device lacks a queue");
  if (size > MAX_SIZE) common->queue_size = size = MAX_SIZE;
  bool indirect = parts > 1 && (device->features & VIRTIO_F_RING_INDIRECT_DESC) != 0;
  uint16_t span = indirect ? 1 : parts;
  *queue = (struct queue){
      .device = device,
      .size = size,
      .span = span,
      .slots = size / span,
      .indirect = indirect,
      .event_idx = (device->features & VIRTIO_F_RING_EVENT_IDX) != 0,
      .interrupts = interrupts,
      .notify = (volatile uint16_t *)(device->notify + common->queue_notify_off * device->notify_multiplier),
      .index = index,
      .descriptors = (struct descriptor *)rings,
      .tables = (struct descriptor *)(rings + TABLES_OFFSET),
      .avail = (volatile uint16_t *)(rings + AVAIL_OFFSET),
      .used = (volatile uint16_t *)(rings + USED_OFFSET),
  };
  if (queue->slots == 0 || parts > MAX_PARTS) fail("the chains of this test do not fit the queue");
  set_address(common->queue_desc, queue->descriptors);
  set_address(common->queue_driver, queue->avail);
  set_address(common->queue_device, queue->used);
  if (device->msix == NULL && interrupts != INTERRUPTS_OFF) fail("the device has no MSI-X");
  if (device->msix != NULL) common->queue_msix_vector = 0;
  if (device->msix != NULL && common->queue_msix_vector != 0) fail("the device refuses its MSI-X vector");
  common->queue_enable = 1;
  queue_arm(queue);
}

void queue_lay(struct queue *queue, unsigned slot, const struct part *parts, unsigned count) {
  unsigned first = slot * queue->span;
  struct descriptor *chain = &queue->descriptors[first];
  if (queue->indirect) {
    struct descriptor *table = queue->tables + slot * MAX_PARTS;
    *chain = (struct descriptor){(uintptr_t)table, count * sizeof *table, VIRTQ_DESC_F_INDIRECT, 0};
    chain = table;
    first = 0;
  }
  for (unsigned i = 0; i < count; i++) {
    uint16_t flags = (parts[i].device_writes ? VIRTQ_DESC_F_WRITE : 0) | (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0);
    chain[i] = (struct descriptor){parts[i].address, parts[i].length, flags, first + i + 1};
  }
}

void queue_submit(struct queue *queue, unsigned slot) {
  queue->avail[2 + (queue->avail_index & (queue->size - 1))] = slot * queue->span;
  queue->avail_index++;
}

void queue_notify(struct queue *queue) {
  uint16_t from = queue->notified_index, to = queue->avail_index;
  if (from == to) return;
  order();
  queue->avail[1] = to;
  queue->notified_index = to;
  /* The index before the device's wish: else both could miss each other. */
  fence();
  bool wanted;
  if (queue->event_idx) {
    uint16_t avail_event = queue->used[2 + queue->size * 4];
    wanted = (uint16_t)(to - avail_event - 1) < (uint16_t)(to - from);
  } else {
    wanted = (queue->used[0] & VIRTQ_USED_F_NO_NOTIFY) == 0;
  }
  if (!wanted) return;
  queue->notifications++;
  *queue->notify = queue->index;
}

int queue_take(struct queue *queue, uint32_t *length) {
  if (queue->used[1] == queue->used_index) return -1;
  order();
  const volatile uint32_t *elements = (const volatile uint32_t *)(queue->used + 2);
  const volatile uint32_t *element = elements + (queue->used_index & (queue->size - 1)) * 2;
  uint32_t id = element[0];
  if (length != NULL) *length = element[1];
  queue->used_index++;
  return queue->span == 1 ? id : id / queue->span;
}

bool queue_arm(struct queue *queue) {
  bool wanted = queue->interrupts != INTERRUPTS_OFF;
  queue->interrupts_seen = interrupts_taken;
  if (queue->event_idx)
    /*
     * used_event: the next completion, or one that is as far away as can be in both directions: the device may look at
     * it late, on account of a completion that was taken meanwhile.
     */
    queue->avail[2 + queue->size] = wanted ? queue->used_index : (uint16_t)(queue->used_index + 0x8000);
  else
    queue->avail[0] = wanted ? 0 : VIRTQ_AVAIL_F_NO_INTERRUPT;
  /* The wish before the caller's last look at the used index: else both could miss each other. */
  if (wanted) fence();
  return queue->used[1] != queue->used_index;
}

static void relax(struct queue *queue, uint64_t start) {
  if (queue->interrupts == INTERRUPTS_HALT)
    halt(queue->interrupts_seen);
  else
    pause();
  if (rdtsc() - start > time_limit_cycles) fail("the device does not answer");
}

void queue_wait(struct queue *queue) {
  uint64_t start = rdtsc();
  if (queue->interrupts == INTERRUPTS_OFF || queue->interrupts == INTERRUPTS_SENT) {
    while (queue->used[1] == queue->used_index) relax(queue, start);
    return;
  }
  for (;;) {
    while (interrupts_taken == queue->interrupts_seen) relax(queue, start);
    queue->interrupts_seen = interrupts_taken;
    if (queue->used[1] != queue->used_index) return;
  }
}

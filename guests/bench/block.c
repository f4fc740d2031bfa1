/* virtio-blk, VIRTIO 1.2 §5.2: requests at a fixed depth. */
#include "memory.h"
#include "print.h"
#include "queue.h"
#include "test.h"

/* Without it the device must write through, VIRTIO 1.2 §5.2.6.2. */
#define VIRTIO_BLK_F_FLUSH (1ull << 9)
#define VIRTIO_BLK_T_IN 0
#define VIRTIO_BLK_T_OUT 1
#define VIRTIO_BLK_T_GET_ID 8
#define VIRTIO_BLK_S_OK 0
#define ID_BYTES 20
#define SECTOR 512

/* A request as it lies in memory: the device reads the header and writes the status. */
struct request {
  uint32_t type, reserved;
  uint64_t sector;
  uint8_t status;
  uint8_t unused[7];
  uint64_t start; /* TSC at the submission. */
};

struct run {
  const struct options *options;
  struct queue queue;
  uint32_t type;
  uint32_t size;
  uint64_t places; /* Requests of this size that the disk holds. */
  uint64_t next;
};

static struct request requests[256] __attribute__((aligned(64)));

static uint64_t data_at(const struct run *run, unsigned slot) { return DATA_START + (uint64_t)slot * run->size; }

static void lay_request(struct run *run, unsigned slot, unsigned data_parts) {
  struct part parts[MAX_PARTS];
  struct request *request = &requests[slot];
  uint64_t data = data_at(run, slot);
  uint32_t segment = run->size / data_parts;
  if (data + run->size > DATA_END) fail("the requests do not fit memory");
  parts[0] = (struct part){(uintptr_t)request, 16, false};
  for (unsigned i = 0; i < data_parts; i++)
    parts[1 + i] = (struct part){data + i * segment, segment, run->type != VIRTIO_BLK_T_OUT};
  parts[1 + data_parts] = (struct part){(uintptr_t)&request->status, 1, true};
  queue_lay(&run->queue, slot, parts, data_parts + 2);
}

static void submit(struct run *run, unsigned slot) {
  struct request *request = &requests[slot];
  uint64_t place = run->options->sequential ? run->next++ % run->places : random_number() % run->places;
  request->type = run->type;
  request->sector = place * (run->size / SECTOR);
  request->status = 0xff;
  request->start = rdtsc();
  dma_map(run->queue.device, data_at(run, slot), run->size, run->type != VIRTIO_BLK_T_OUT);
  queue_submit(&run->queue, slot);
}

/*
 * Takes all that is done and submits as much again; returns how many were done. As Linux does it, interrupts are wanted
 * only when nothing is left to take, so that a batch makes one.
 */
static uint64_t turn(struct run *run, uint64_t *left) {
  uint64_t done = 0;
  do {
    for (int slot; (slot = queue_take(&run->queue, NULL)) >= 0; done++) {
      if (requests[slot].status != VIRTIO_BLK_S_OK) fail("a block request failed");
      dma_unmap(run->queue.device, data_at(run, slot), run->size);
      keep_sample(rdtsc() - requests[slot].start);
      if (*left == 0) continue;
      *left -= 1;
      submit(run, slot);
    }
  } while (queue_arm(&run->queue));
  queue_notify(&run->queue);
  return done;
}

static void run_requests(const struct options *options, uint32_t type, uint32_t size) {
  struct device *device = virtio_device(VIRTIO_ID_BLOCK, options->device);
  struct run run = {.options = options, .type = type, .size = size};
  uint64_t sectors = *(volatile uint32_t *)device->config | (uint64_t)*(volatile uint32_t *)(device->config + 4) << 32;
  unsigned data_parts = options->segment == 0 ? 1 : (size + options->segment - 1) / options->segment;
  uint64_t left = options->count, done = 0;
  run.places = size < SECTOR ? 1 : sectors * SECTOR / size;
  if (run.places == 0 || data_parts + 2 > MAX_PARTS || size % data_parts != 0) fail("no such request fits");
  virtio_reset(device, VIRTIO_BLK_F_FLUSH | ring_features(options));
  dma_start(device, options->dma);
  queue_set_up(&run.queue, device, 0, 0, data_parts + 2, options->interrupts);
  virtio_start(device);
  if (options->depth > run.queue.slots) fail("the depth does not fit the queue");
  for (unsigned slot = 0; slot < options->depth; slot++) lay_request(&run, slot, data_parts);

  uint64_t start = rdtsc();
  for (unsigned slot = 0; slot < options->depth && left > 0; slot++, left--) submit(&run, slot);
  queue_notify(&run.queue);
  while ((done += turn(&run, &left)) < options->count) queue_wait(&run.queue);
  uint64_t cycles = rdtsc() - start;
  report_samples(options);
  report_rate(options, "requests/s", done, size, cycles);
  report(options->word, "notifications", run.queue.notifications, "");
}

/* Nothing but the queue's round trip: the device knows the answer. */
void test_block_id(const struct options *options) { run_requests(options, VIRTIO_BLK_T_GET_ID, ID_BYTES); }

void test_block_read(const struct options *options) { run_requests(options, VIRTIO_BLK_T_IN, options->size); }

void test_block_write(const struct options *options) { run_requests(options, VIRTIO_BLK_T_OUT, options->size); }

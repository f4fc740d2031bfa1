/* virtio-rng, VIRTIO 1.2 §5.4: one request at a time. */
#include "memory.h"
#include "print.h"
#include "queue.h"
#include "test.h"

void test_entropy(const struct options *options) {
  struct device *device = virtio_device(VIRTIO_ID_ENTROPY, options->device);
  struct queue queue;
  uint32_t length;
  virtio_reset(device, ring_features(options));
  dma_start(device, options->dma);
  queue_set_up(&queue, device, 0, 0, 1, options->interrupts);
  virtio_start(device);
  queue_lay(&queue, 0, &(struct part){DATA_START, options->size, true}, 1);
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t start = rdtsc();
    dma_map(device, DATA_START, options->size, true);
    queue_arm(&queue);
    queue_submit(&queue, 0);
    queue_notify(&queue);
    queue_wait(&queue);
    if (queue_take(&queue, &length) != 0 || length == 0) fail("the entropy device gave nothing");
    dma_unmap(device, DATA_START, options->size);
    keep_sample(rdtsc() - start);
  }
  report_samples(options);
  report(options->word, "notifications", queue.notifications, "");
}

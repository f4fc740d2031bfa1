/* Accesses that leave the guest, one after the other. */
#include "print.h"
#include "test.h"
#include "virtio.h"

#define POST_PORT 0x80
/* Nothing is there, on either machine. */
#define UNUSED_PORT 0x2f0

void test_port_write(const struct options *options) {
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t start = rdtsc();
    out8(POST_PORT, 0x41);
    keep_sample(rdtsc() - start);
  }
  report_samples(options);
}

void test_port_read(const struct options *options) {
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t start = rdtsc();
    in8(UNUSED_PORT);
    keep_sample(rdtsc() - start);
  }
  report_samples(options);
}

static void time_reads(const struct options *options, const volatile uint8_t *address) {
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t start = rdtsc();
    (void)*address;
    keep_sample(rdtsc() - start);
  }
  report_samples(options);
}

/* The device status, which drivers read at every step of the set-up. */
void test_common_config(const struct options *options) {
  time_reads(options, &virtio_device(VIRTIO_ID_BLOCK, options->device)->common->device_status);
}

/* The first byte of the capacity. */
void test_device_config(const struct options *options) {
  time_reads(options, virtio_device(VIRTIO_ID_BLOCK, options->device)->config);
}

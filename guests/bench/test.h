/* What a test gets and what it reports. */
#ifndef TEST_H
#define TEST_H

#include "dma.h"
#include "interrupts.h"

struct options {
  const char *word; /* As on the command line; names the lines of the report. */
  uint64_t count;   /* Accesses, requests or frames. */
  uint64_t depth;   /* Requests under way at a time. */
  uint64_t size;    /* Bytes of a request or frame. */
  uint64_t segment; /* Bytes of a descriptor; 0: one for all of the data. */
  uint64_t device;  /* Index among the devices of its kind. */
  bool sequential, event_idx, indirect, segmentation;
  enum interrupts interrupts;
  enum dma dma;
  uint64_t resident; /* Mappings that stay while others come and go. */
};

/* The features of the ring that the options ask for. */
uint64_t ring_features(const struct options *options);

/* Keeps the time of one access or request, in cycles. */
void keep_sample(uint64_t cycles);
/* Reports what all samples since the last call come to: median and p95. */
void report_samples(const struct options *options);
/* Reports `done` things in `cycles` as a rate, and as bytes with `size` each. */
void report_rate(const struct options *options, const char *unit, uint64_t done, uint64_t size, uint64_t cycles);
void samples_clock(uint64_t tsc_khz);

/* A pseudo-random number, the same series in every run. */
uint32_t random_number(void);

void test_port_write(const struct options *options);
void test_port_read(const struct options *options);
void test_common_config(const struct options *options);
void test_device_config(const struct options *options);
void test_entropy(const struct options *options);
void test_block_id(const struct options *options);
void test_block_read(const struct options *options);
void test_block_write(const struct options *options);
void test_net_echo(const struct options *options);
void test_net_send(const struct options *options);
void test_net_receive(const struct options *options);
void test_iommu_map(const struct options *options);
void test_iommu_unmap(const struct options *options);
void test_iommu_pair(const struct options *options);
void test_iommu_fill(const struct options *options);
void test_iommu_probe(const struct options *options);
void test_iommu_attach(const struct options *options);
void test_iommu_unmapped(const struct options *options);
void test_iommu_removed(const struct options *options);
void test_iommu_read_only(const struct options *options);
void test_iommu_blocked(const struct options *options);
void test_iommu_msi(const struct options *options);

#endif

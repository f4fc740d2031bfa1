/*
 * How fast the IOMMU answers. MAP and UNMAP are of single pages between `resident` mappings that stay, at places that
 * jump about, `depth` requests a notification. All of it in a domain of the entropy device, which is idle.
 */
#include "iommu.h"
#include "memory.h"
#include "print.h"
#include "test.h"

#define PAGE 4096ul
/* A resident mapping at the even pages, room at the odd ones. */
#define STRIDE (2 * PAGE)
/* Pages that are mapped at a time beside the resident ones. */
#define CHUNK 1024
/* Odd, so that multiples of it visit every place of a power of two. */
#define JUMP 0x9e3779b1u
#define ALL_RIGHTS (VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE)

struct run {
  const struct options *options;
  uint64_t places; /* A power of two. */
  uint64_t next;
  uint64_t cycles; /* Of what is measured. */
};

static struct device *endpoint;
static uint64_t residents;

static void add_map_at(uint64_t iova) { iommu_add_map(TEST_DOMAIN, iova, iova + PAGE - 1, DATA_START, ALL_RIGHTS); }

static void add_unmap_at(uint64_t iova) { iommu_add_unmap(TEST_DOMAIN, iova, iova + PAGE - 1); }

static uint64_t room_at(const struct run *run, uint64_t index) {
  return IOVA_START + (index * JUMP & (run->places - 1)) * STRIDE + PAGE;
}

/* Adds residents or takes some away until there are `wanted`. */
static void fill(uint64_t wanted, uint64_t batch) {
  while (residents < wanted) {
    for (uint64_t i = 0; i < batch && residents < wanted; i++) add_map_at(IOVA_START + residents++ * STRIDE);
    iommu_flush();
  }
  if (residents == wanted) return;
  uint64_t start = IOVA_START + wanted * STRIDE;
  if (iommu_unmap(TEST_DOMAIN, start, IOVA_START + residents * STRIDE - 1) != VIRTIO_IOMMU_S_OK)
    fail("UNMAP is refused");
  residents = wanted;
}

static void start(struct run *run, const struct options *options) {
  *run = (struct run){.options = options, .places = CHUNK};
  if (options->depth > IOMMU_BATCH) fail("the depth of the IOMMU's requests is at most 64");
  endpoint = virtio_device(VIRTIO_ID_ENTROPY, 0);
  dma_move(endpoint, TEST_DOMAIN);
  fill(options->resident, IOMMU_BATCH);
  while (run->places < options->resident) run->places *= 2;
}

/* Requests for `count` places, `batch` a notification; `measured`: into the samples. */
static void request(struct run *run, void (*add)(uint64_t), uint64_t count, uint64_t batch, bool measured) {
  for (uint64_t done = 0; done < count;) {
    uint64_t begin = rdtsc();
    for (uint64_t i = 0; i < batch && done < count; i++) add(room_at(run, run->next + done++));
    iommu_flush();
    if (!measured) continue;
    uint64_t cycles = rdtsc() - begin;
    run->cycles += cycles;
    keep_sample(cycles);
  }
}

static void run_half(const struct options *options, bool maps) {
  struct run run;
  start(&run, options);
  for (uint64_t left = options->count; left > 0;) {
    uint64_t count = left < CHUNK ? left : CHUNK;
    request(&run, add_map_at, count, maps ? options->depth : IOMMU_BATCH, maps);
    request(&run, add_unmap_at, count, maps ? IOMMU_BATCH : options->depth, !maps);
    run.next += count;
    left -= count;
  }
  report_samples(options);
  report_rate(options, "requests/s", options->count, PAGE, run.cycles);
}

void test_iommu_map(const struct options *options) { run_half(options, true); }

void test_iommu_unmap(const struct options *options) { run_half(options, false); }

/* MAP, then UNMAP of the same page; `count` pairs. A batch has pairs too. */
void test_iommu_pair(const struct options *options) {
  struct run run;
  start(&run, options);
  uint64_t begin = rdtsc();
  for (uint64_t done = 0; done < options->count;) {
    uint64_t sent = rdtsc();
    if (options->depth == 1) {
      add_map_at(room_at(&run, done));
      iommu_flush();
      add_unmap_at(room_at(&run, done++));
    } else {
      for (uint64_t i = 0; i < options->depth / 2 && done < options->count; i++) {
        add_map_at(room_at(&run, done));
        add_unmap_at(room_at(&run, done++));
      }
    }
    iommu_flush();
    keep_sample(rdtsc() - sent);
  }
  uint64_t cycles = rdtsc() - begin;
  report_samples(options);
  report_rate(options, "pairs/s", options->count, PAGE, cycles);
}

/* The resident mappings themselves. */
void test_iommu_fill(const struct options *options) {
  struct run run;
  start(&run, &(struct options){.word = options->word, .depth = options->depth});
  uint64_t begin = rdtsc();
  fill(options->resident, options->depth);
  report_rate(options, "mappings/s", options->resident, PAGE, rdtsc() - begin);
}

void test_iommu_probe(const struct options *options) {
  struct run run;
  start(&run, options);
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t begin = rdtsc();
    if (iommu_probe(endpoint->address) != VIRTIO_IOMMU_S_OK) fail("PROBE is refused");
    keep_sample(rdtsc() - begin);
  }
  report_samples(options);
}

/* ATTACH to a domain that it makes, DETACH that ends it: a sample each, a pair of lines. */
void test_iommu_attach(const struct options *options) {
  uint64_t detached = 0;
  endpoint = virtio_device(VIRTIO_ID_ENTROPY, 0);
  dma_move(endpoint, 0);
  residents = 0;
  for (uint64_t i = 0; i < options->count; i++) {
    uint64_t begin = rdtsc();
    dma_move(endpoint, OTHER_DOMAIN);
    uint64_t attached = rdtsc();
    keep_sample(attached - begin);
    dma_move(endpoint, 0);
    detached += rdtsc() - attached;
  }
  report_samples(options);
  report_rate(options, "detaches/s", options->count, 0, detached);
}

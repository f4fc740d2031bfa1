/* Samples, their order, and the numbers that are printed of them. */
#include "memory.h"
#include "print.h"
#include "test.h"

#define RANDOM_SEED 0x2545f491u

static uint64_t *const samples = (uint64_t *)SAMPLES_START;
static uint64_t sample_count;
static uint64_t clock_khz;
static uint32_t random_state = RANDOM_SEED;

void samples_clock(uint64_t tsc_khz) { clock_khz = tsc_khz; }

static uint64_t nanoseconds(uint64_t cycles) { return cycles * 1000000 / clock_khz; }

void keep_sample(uint64_t cycles) {
  if (sample_count < MAX_SAMPLES) samples[sample_count++] = cycles;
}

/* Shell's method: no recursion, fast enough for a million. */
static void sort_samples(void) {
  size_t gap = 1;
  while (gap < sample_count / 3) gap = gap * 3 + 1;
  for (; gap > 0; gap /= 3)
    for (size_t i = gap; i < sample_count; i++) {
      uint64_t sample = samples[i];
      size_t at = i;
      for (; at >= gap && samples[at - gap] > sample; at -= gap) samples[at] = samples[at - gap];
      samples[at] = sample;
    }
}

void report_samples(const struct options *options) {
  if (sample_count == 0) return;
  sort_samples();
  report(options->word, "median", nanoseconds(samples[sample_count / 2]), "ns");
  report(options->word, "p95", nanoseconds(samples[sample_count * 95 / 100]), "ns");
  sample_count = 0;
}

void report_rate(const struct options *options, const char *unit, uint64_t done, uint64_t size, uint64_t cycles) {
  uint64_t microseconds = cycles * 1000 / clock_khz;
  if (microseconds == 0) microseconds = 1;
  report(options->word, "rate", done * 1000000 / microseconds, unit);
  report(options->word, "bandwidth", done * size / microseconds, "MB/s");
}

/* Marsaglia's xorshift. */
uint32_t random_number(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

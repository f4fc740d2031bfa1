/* Prints the rate of this host's time stamp counter in kHz, measured against CLOCK_MONOTONIC_RAW. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define MEASURE_NS 200000000ull

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

int main(void) {
  uint64_t start_ns = now_ns(), start = __rdtsc(), ns;
  while ((ns = now_ns()) - start_ns < MEASURE_NS);
  uint64_t cycles = __rdtsc() - start;
  printf("%llu\n", (unsigned long long)(cycles * 1000000 / (ns - start_ns)));
  return 0;
}

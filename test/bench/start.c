/*
 * The start that bulkhead is compared with: the same KVM calls, one thread, no devices.
 * start IMAGE: writes the guest's first byte on COM1 to stdout, then each step and its wall-clock time in nanoseconds
 * to stderr.
 */
#include "vm.h"

/* Of this program alone; getrusage would count what the parent had before exec. */
static long peak_rss_kib(void) {
  char line[256];
  long kib = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) sscanf(line, "VmHWM: %ld", &kib);
  return kib;
}

int main(int argc, char **argv) {
  struct machine m;
  if (argc != 2) return 2;
  mark("program start");
  open_kvm(&m);
  create_vm(&m, argv[1], 128 << 20);
  create_vcpu(&m);
  do CALL(m.vcpu, KVM_RUN, 0);
  while (m.run->exit_reason != KVM_EXIT_IO || m.run->io.port != 0x3f8);
  check("write", write(1, (uint8_t *)m.run + m.run->io.data_offset, 1));
  mark("first byte");
  fprintf(stderr, "peak RSS KiB\t%ld\n", peak_rss_kib());
  for (int i = 0; i < mark_count; i++) fprintf(stderr, "%s\t%llu\n", marks[i].name, (unsigned long long)marks[i].ns);
  return 0;
}

/*
 * The exit loop that bulkhead is compared with: ioctl(KVM_RUN), a switch on the exit reason, the exit's fields.
 * exits IMAGE: reads numbers from stdin; for each makes that many exits and prints the nanoseconds they took.
 */
#include "vm.h"

static uint64_t sum;

static void decode(struct kvm_run *run) {
  uint8_t *data = (uint8_t *)run + run->io.data_offset;
  uint64_t value = 0;
  switch (run->exit_reason) {
    case KVM_EXIT_IO:
      if (run->io.direction == KVM_EXIT_IO_OUT) {
        memcpy(&value, data, run->io.size);
        sum += run->io.port + value;
      } else {
        memset(data, 0xff, run->io.size);
      }
      break;
    case KVM_EXIT_MMIO:
      if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, run->mmio.len);
        sum += run->mmio.phys_addr + value;
      } else {
        memset(run->mmio.data, 0xff, run->mmio.len);
      }
      break;
    default:
      fprintf(stderr, "unexpected exit %u\n", run->exit_reason);
      exit(1);
  }
}

int main(int argc, char **argv) {
  struct machine m;
  long count;
  if (argc != 2) return 2;
  open_kvm(&m);
  create_vm(&m, argv[1], 16 << 20);
  create_vcpu(&m);
  while (scanf("%ld", &count) == 1) {
    uint64_t start = wall_ns();
    for (long i = 0; i < count; i++) {
      CALL(m.vcpu, KVM_RUN, 0);
      decode(m.run);
    }
    printf("%llu\n", (unsigned long long)(wall_ns() - start));
    fflush(stdout);
  }
  return sum == 1;
}

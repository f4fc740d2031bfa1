/*
 * A one-vCPU machine by the same KVM calls that bulkhead makes (src/machine/machine.ts, src/arch/x86-64), for the C
 * side of the benchmarks. `mark` keeps the time after each step. Everything is checked; a failure ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOAD_ADDRESS 0x100000ul
#define ENTRY (LOAD_ADDRESS + 0x40)
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull
#define TSS_ADDRESS 0xfffbd000ul
#define MAX_CPUID_ENTRIES 256
#define MAX_MARKS 32

struct machine {
  int kvm, vm, vcpu;
  uint8_t *ram;
  struct kvm_run *run;
};

static struct {
  const char *name;
  uint64_t ns;
} marks[MAX_MARKS];
static int mark_count;

static uint64_t wall_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void mark(const char *name) {
  if (mark_count == MAX_MARKS) return;
  marks[mark_count].name = name;
  marks[mark_count++].ns = wall_ns();
}

static long check(const char *call, long result) {
  if (result >= 0) return result;
  fprintf(stderr, "%s: %s\n", call, strerror(errno));
  exit(1);
}

static void *check_map(const char *call, void *address) {
  if (address == MAP_FAILED) check(call, -1);
  return address;
}

#define CALL(fd, request, argument) check(#request, ioctl(fd, request, argument))

static void open_kvm(struct machine *m) {
  static const int required[] = {
      KVM_CAP_USER_MEMORY, KVM_CAP_IRQCHIP,    KVM_CAP_IRQ_ROUTING,    KVM_CAP_IRQFD,    KVM_CAP_IOEVENTFD,
      KVM_CAP_SIGNAL_MSI,  KVM_CAP_PIT2,       KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_EXT_CPUID,
  };
  m->kvm = check("open /dev/kvm", open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (CALL(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) exit(1);
  for (size_t i = 0; i < sizeof required / sizeof *required; i++) CALL(m->kvm, KVM_CHECK_EXTENSION, required[i]);
  CALL(m->kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
  mark("open KVM");
}

static void create_vm(struct machine *m, const char *image_path, size_t ram_bytes) {
  uint64_t identity_map = IDENTITY_MAP_ADDRESS;
  struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
  m->vm = CALL(m->kvm, KVM_CREATE_VM, 0);
  mark("KVM_CREATE_VM");
  /* Before the interrupt controllers: behind them, the first slot waits some milliseconds for a grace period. */
  int memfd = check("memfd_create", memfd_create("bench-ram", MFD_CLOEXEC));
  check("ftruncate", ftruncate(memfd, ram_bytes));
  m->ram = check_map("mmap", mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, memfd, 0));
  struct kvm_userspace_memory_region region = {.memory_size = ram_bytes, .userspace_addr = (uintptr_t)m->ram};
  CALL(m->vm, KVM_SET_USER_MEMORY_REGION, &region);
  mark("memory");
  CALL(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  CALL(m->vm, KVM_SET_TSS_ADDR, TSS_ADDRESS);
  CALL(m->vm, KVM_CREATE_IRQCHIP, 0);
  mark("KVM_CREATE_IRQCHIP");
  CALL(m->vm, KVM_CREATE_PIT2, &pit);
  mark("KVM_CREATE_PIT2");
  int image = check(image_path, open(image_path, O_RDONLY));
  check("read", read(image, m->ram + LOAD_ADDRESS, ram_bytes - LOAD_ADDRESS));
  close(image);
  check("eventfd", eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  mark("load image");
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type) {
  return (struct kvm_segment){
      .limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = 1, .s = 1, .g = 1};
}

static void set_msr(struct machine *m, uint32_t index, uint64_t data) {
  struct {
    struct kvm_msrs header;
    struct kvm_msr_entry entry;
  } msrs = {.header = {.nmsrs = 1}, .entry = {.index = index, .data = data}};
  CALL(m->vcpu, KVM_SET_MSRS, &msrs);
}

/** Flat 32-bit protected mode at the image's entry. */
static void set_registers(struct machine *m) {
  struct kvm_sregs sregs;
  struct kvm_regs regs;
  CALL(m->vcpu, KVM_GET_SREGS, &sregs);
  sregs.cs = flat_segment(0x10, 0xb);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(0x18, 0x3);
  sregs.tr = (struct kvm_segment){.limit = 0x67, .selector = 0x20, .type = 0xb, .present = 1};
  sregs.cr0 = 0x31;
  sregs.cr3 = sregs.cr4 = sregs.efer = 0;
  CALL(m->vcpu, KVM_SET_SREGS, &sregs);
  CALL(m->vcpu, KVM_GET_SREGS, &sregs);
  CALL(m->vcpu, KVM_GET_REGS, &regs);
  regs.rip = ENTRY;
  regs.rflags = 2;
  CALL(m->vcpu, KVM_SET_REGS, &regs);
}

static void create_vcpu(struct machine *m) {
  long run_size = CALL(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  m->vcpu = CALL(m->vm, KVM_CREATE_VCPU, 0);
  m->run = check_map("mmap vcpu", mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0));
  mark("KVM_CREATE_VCPU");
  struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + MAX_CPUID_ENTRIES * sizeof *cpuid->entries);
  cpuid->nent = MAX_CPUID_ENTRIES;
  CALL(m->kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
  CALL(m->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER);
  CALL(m->vcpu, KVM_SET_CPUID2, cpuid);
  mark("CPUID");
  struct kvm_fpu fpu;
  struct kvm_lapic_state lapic;
  set_msr(m, 0x1a0, 1);
  set_msr(m, 0x2ff, 0x806);
  CALL(m->vcpu, KVM_GET_FPU, &fpu);
  CALL(m->vcpu, KVM_SET_FPU, &fpu);
  CALL(m->vcpu, KVM_GET_LAPIC, &lapic);
  CALL(m->vcpu, KVM_SET_LAPIC, &lapic);
  set_registers(m);
  mark("registers");
}

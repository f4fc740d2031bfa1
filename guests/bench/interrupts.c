/* IDT and local APIC; the handlers are in boot.S. */
#include "interrupts.h"
#include "memory.h"
#include "print.h"

#define EXCEPTIONS 32
#define UNDEFINED_VECTOR 6
#define STUB_SIZE 16
#define GATE_SIZE 16
#define KERNEL_CODE 0x08
#define INTERRUPT_GATE 0x8e00
#define SPURIOUS_VECTOR 0xff
#define PIC1_MASK 0x21
#define PIC2_MASK 0xa1

/* Intel SDM volume 3, table 11-1. */
#define LAPIC_TPR 0x80
#define LAPIC_SVR 0xf0
#define LAPIC_SVR_ENABLE 0x100
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_TIMER_PERIODIC 0x20000
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_MASKED 0x10000
#define LAPIC_TIMER_COUNT 0x380
#define LAPIC_TIMER_DIVIDE 0x3e0
#define LAPIC_TIMER_DIVIDE_BY_1 0xb
#define TPR_ALL 0xf0
/* About a second: KVM's local APIC counts nanoseconds. */
#define TICK_COUNT 1000000000u

extern uint8_t idt[], exception_stubs[], on_device_interrupt[], on_undefined[];

volatile uint64_t interrupts_taken;

static volatile uint32_t *lapic(uint32_t offset) { return (volatile uint32_t *)(LAPIC_START + offset); }

static void set_gate(unsigned vector, const uint8_t *handler, uint16_t type) {
  uint64_t address = (uintptr_t)handler;
  uint64_t *gate = (uint64_t *)(idt + vector * GATE_SIZE);
  gate[0] = (address & 0xffff) | KERNEL_CODE << 16 | (uint64_t)type << 32 | (address >> 16 & 0xffff) << 48;
  gate[1] = address >> 32;
}

void setup_interrupts(void) {
  for (unsigned i = 0; i < EXCEPTIONS; i++) set_gate(i, exception_stubs + i * STUB_SIZE, INTERRUPT_GATE);
  set_gate(DEVICE_VECTOR, on_device_interrupt, INTERRUPT_GATE);
  set_gate(SPURIOUS_VECTOR, on_device_interrupt, INTERRUPT_GATE);
  set_gate(UNDEFINED_VECTOR, on_undefined, INTERRUPT_GATE);
  out8(PIC1_MASK, 0xff);
  out8(PIC2_MASK, 0xff);
  *lapic(LAPIC_LVT_LINT0) = LAPIC_LVT_MASKED;
  *lapic(LAPIC_SVR) = LAPIC_SVR_ENABLE | SPURIOUS_VECTOR;
  *lapic(LAPIC_TIMER_DIVIDE) = LAPIC_TIMER_DIVIDE_BY_1;
  *lapic(LAPIC_LVT_TIMER) = LAPIC_LVT_TIMER_PERIODIC | DEVICE_VECTOR;
  allow_interrupts(false);
}

void allow_interrupts(bool allowed) {
  *lapic(LAPIC_TPR) = allowed ? 0 : TPR_ALL;
  /* A tick lets a guest that halts for a lost interrupt notice its time limit. */
  *lapic(LAPIC_TIMER_COUNT) = allowed ? TICK_COUNT : 0;
}

_Noreturn void fault(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2) {
  print("error: exception ");
  print_number(vector);
  print(" code ");
  print_hex(error);
  print(" at ");
  print_hex(rip);
  print(" address ");
  print_hex(cr2);
  print("\n");
  end(1);
}

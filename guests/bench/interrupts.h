/* Interrupts: what a test may do with those of a device. */
#ifndef INTERRUPTS_H
#define INTERRUPTS_H

#include "cpu.h"

#define DEVICE_VECTOR 0x40

enum interrupts {
  /* The driver tells the device that it wants none, and polls. */
  INTERRUPTS_OFF,
  /* The device sends them, the local APIC holds them back; the driver polls. */
  INTERRUPTS_SENT,
  /* The handler runs; the driver spins until it has. */
  INTERRUPTS_TAKEN,
  /* The same, and the processor halts meanwhile. */
  INTERRUPTS_HALT,
};

/* How often the handler ran. */
extern volatile uint64_t interrupts_taken;

/* At CPL 0: IDT, PIC, local APIC. */
void setup_interrupts(void);
/* Lets the local APIC deliver DEVICE_VECTOR, or not. */
void allow_interrupts(bool allowed);
/* Halts until there is an interrupt, unless `interrupts_taken` differs from `seen` by now. */
void halt(uint64_t seen);

#endif

/* Instructions that C does not have, and the types everything uses. */
#ifndef CPU_H
#define CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEBUG_EXIT_PORT 0xf4

static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port)); }

static inline uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static inline uint32_t in32(uint16_t port) {
  uint32_t value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static inline uint64_t rdtsc(void) {
  uint32_t low, high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
  return (uint64_t)high << 32 | low;
}

static inline void pause(void) { __asm__ volatile("pause" ::: "memory"); }

/* x86 keeps stores in order, and loads: the compiler must too. */
static inline void order(void) { __asm__ volatile("" ::: "memory"); }

/* A store before a load of another address. */
static inline void fence(void) { __asm__ volatile("mfence" ::: "memory"); }

/* In print.c; the compiler also makes calls of these. */
void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);

/* Ends the machine with status (value << 1) | 1 (isa-debug-exit). */
static inline _Noreturn void end(uint8_t value) {
  for (;;) out8(DEBUG_EXIT_PORT, value);
}

#endif

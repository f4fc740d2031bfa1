/* Text on COM1, polled; needs no interrupt and no initialisation. */
#include "print.h"

#define COM1 0x3f8
#define LSR (COM1 + 5)
#define LSR_THRE 0x20

static void print_char(char character) {
  while ((in8(LSR) & LSR_THRE) == 0) pause();
  out8(COM1, character);
}

void print(const char *text) {
  while (*text != 0) print_char(*text++);
}

static void print_base(uint64_t value, unsigned base) {
  char text[21];
  char *at = text + sizeof text - 1;
  *at = 0;
  do {
    *--at = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  print(at);
}

void print_number(uint64_t value) { print_base(value, 10); }

void print_hex(uint64_t value) { print_base(value, 16); }

void report(const char *test, const char *metric, uint64_t value, const char *unit) {
  print(test);
  print(".");
  print(metric);
  print(" ");
  print_number(value);
  print(" ");
  print(unit);
  print("\n");
}

void fail(const char *sentence) {
  print("error: ");
  print(sentence);
  print("\n");
  end(1);
}

void *memset(void *to, int value, size_t size) {
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, size_t size) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
  return start;
}

/* Text on COM1, polled. */
#ifndef PRINT_H
#define PRINT_H

#include "cpu.h"

void print(const char *text);
void print_number(uint64_t value);
void print_hex(uint64_t value);
/* "TEST.metric value unit", one line. */
void report(const char *test, const char *metric, uint64_t value, const char *unit);
/* Prints "error: " and the sentence, and ends the machine with status 3. */
_Noreturn void fail(const char *sentence);

#endif

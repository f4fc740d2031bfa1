#define _GNU_SOURCE
#include "call.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void say(struct call *call, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(call->outcome, sizeof call->outcome, format, arguments);
  va_end(arguments);
}

void bad(struct call *call, const char *what) {
  call->is_bad = true;
  say(call, "%s", what);
}

void failed(struct call *call) { bad(call, strerrorname_np(errno)); }

unsigned long number(const struct call *call, int index, unsigned long otherwise) {
  return index < call->count ? strtoul(call->words[index], NULL, 0) : otherwise;
}

const char *word(const struct call *call, int index) { return index < call->count ? call->words[index] : ""; }

void *find(void *things, size_t size, const char *name, bool is_new) {
  for (int i = 0; i < MAX_THINGS; i++) {
    struct thing *thing = (struct thing *)((char *)things + i * size);
    if (thing->is_open ? !is_new && strcmp(thing->name, name) == 0 : is_new) {
      snprintf(thing->name, sizeof thing->name, "%s", name);
      return thing;
    }
  }
  fprintf(stderr, "vfio-edu: %s: %s\n", name, is_new ? "too many" : "no such thing");
  exit(2);
}

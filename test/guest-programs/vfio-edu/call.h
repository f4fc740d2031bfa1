/* A command under way, and what all commands need. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_WORDS 12
#define MAX_THINGS 8
#define MAX_LINE 512
#define MAX_NAME 16
#define PAGE 4096ul

/* A command's words and its outcome. */
struct call {
  char *words[MAX_WORDS];
  int count;
  char outcome[64];
  bool is_bad;
};

void say(struct call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Not as it should be. */
void bad(struct call *call, const char *what);
/* By errno. */
void failed(struct call *call);
const char *word(const struct call *call, int index);
unsigned long number(const struct call *call, int index, unsigned long otherwise);
/* Runs one command; `line` is changed. */
void run(struct call *call, char *line);

/* What commands make and name; the first member of each kind. */
struct thing {
  char name[MAX_NAME];
  bool is_open;
};

/* The open one of that name, or with `is_new` a place for it. Ends the program if there is none. */
void *find(void *things, size_t size, const char *name, bool is_new);
#define FIND(things, name) find(things, sizeof *things, name, false)
#define PLACE(things, name) find(things, sizeof *things, name, true)

void open_container(struct call *call);
/* The descriptor of that container. */
int container_fd(const char *name);
void allocate(struct call *call);
void map(struct call *call);
void unmap(struct call *call);
void write_pattern(struct call *call);
void check_pattern(struct call *call);
void physical(struct call *call);
void share_file(struct call *call);
void keep_file(struct call *call);
void keep_again(struct call *call);
void changes(struct call *call);

void open_device(struct call *call);
void open_mate(struct call *call);
void close_device(struct call *call);
void prepare(struct call *call);
void start(struct call *call);
void wait_for_transfer(struct call *call);
void transfer(struct call *call);
void factorial(struct call *call);
void take_interrupts(struct call *call);
void raise_interrupt(struct call *call);
void await_interrupt(struct call *call);

void repeat(struct call *call);
void end_repeating(struct call *call);

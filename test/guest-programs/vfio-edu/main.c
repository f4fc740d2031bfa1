/*
 * Drives QEMU's "edu" devices through VFIO (type1): for Linux guests and for their hosts. Commands come on standard input,
 * one a line. `LABEL: COMMAND` tells the outcome as `LABEL: outcome`, an errno's name included; without a label an outcome
 * other than "ok" or a number ends the program. Registers: QEMU's docs/specs/edu; linux/vfio.h.
 *
 *   container C                          opens one
 *   memory M BYTES                       zeroes, locked
 *   device D ADDRESS C                   takes the device's group into the container and opens it, as bus master
 *   mate D ADDRESS OTHER                 opens another device of the group that OTHER is in
 *   close D                              gives the device back and its group out of the container
 *   map C M IOVA [OFFSET BYTES [r|w]]    lets devices reach memory
 *   unmap C IOVA BYTES                   outcome: how many bytes
 *   pattern M SEED [OFFSET BYTES]        writes bytes that depend on seed and position; seed 0: zeroes
 *   check M SEED [OFFSET BYTES]          outcome: how many bytes are different
 *   physical M [OFFSET]                  outcome: physical address
 *   share M FILE                         a file, such as the RAM of a guest, to be looked at
 *   keep M FILE                          copies a file; `again M`: copies it once more
 *   changes M                            outcome: how many bytes of the file are different now, the first and the last
 *   prepare D out|in IOVA COUNT          sets a transfer up, from memory to the device's buffer or back
 *   start D out|in [irq]                 starts it, and does not wait
 *   wait D                               until it is done
 *   dma D out|in IOVA COUNT [irq]        all three
 *   factorial D N                        outcome: of the device's calculation
 *   irq D msi|intx                       takes its interrupts
 *   raise D VALUE                        makes it interrupt
 *   await D MS                           waits for an interrupt, and acknowledges; outcome: the status, or "none"
 *   repeat R COMMAND; COMMAND...         over and over, in a thread; only one thread may open and close
 *   end R                                outcome: how many rounds, and the first bad outcome
 */
#include "call.h"
#include <stdio.h>
#include <string.h>

static const struct {
  const char *verb;
  void (*run)(struct call *call);
} COMMANDS[] = {
    {"container", open_container},
    {"memory", allocate},
    {"device", open_device},
    {"mate", open_mate},
    {"close", close_device},
    {"map", map},
    {"unmap", unmap},
    {"pattern", write_pattern},
    {"check", check_pattern},
    {"physical", physical},
    {"share", share_file},
    {"keep", keep_file},
    {"again", keep_again},
    {"changes", changes},
    {"prepare", prepare},
    {"start", start},
    {"wait", wait_for_transfer},
    {"dma", transfer},
    {"factorial", factorial},
    {"irq", take_interrupts},
    {"raise", raise_interrupt},
    {"await", await_interrupt},
    {"repeat", repeat},
    {"end", end_repeating},
};

void run(struct call *call, char *line) {
  char *start;
  say(call, "ok");
  while (call->count < MAX_WORDS && (start = strsep(&line, " \t\r\n")) != NULL)
    if (*start != 0) call->words[call->count++] = start;
  if (call->count == 0) return;
  for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
    if (strcmp(call->words[0], COMMANDS[i].verb) == 0) return COMMANDS[i].run(call);
  bad(call, "unknown command");
}

int main(void) {
  char line[MAX_LINE];
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct call call = {0};
    char *label_end = strstr(line, ": ");
    if (label_end != NULL) {
      *label_end = 0;
      run(&call, label_end + 2);
      printf("%s: %s\n", line + strspn(line, " \t"), call.outcome);
      continue;
    }
    char said[MAX_LINE];
    snprintf(said, sizeof said, "%.*s", (int)strcspn(line, "\n"), line);
    run(&call, line);
    if (call.is_bad) {
      fprintf(stderr, "vfio-edu: %s: %s\n", said, call.outcome);
      return 1;
    }
  }
  return 0;
}

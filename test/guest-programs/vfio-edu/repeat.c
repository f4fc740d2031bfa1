/* Commands over and over, in threads. */
#include "call.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct repeater {
  struct thing thing;
  pthread_t thread;
  char commands[MAX_LINE];
  atomic_bool is_ending;
  unsigned long rounds;
  char complaint[sizeof((struct call *)0)->outcome + 1];
};

static struct repeater repeaters[MAX_THINGS];

static void *repeat_commands(void *argument) {
  struct repeater *repeater = argument;
  while (!atomic_load(&repeater->is_ending) && repeater->complaint[0] == 0) {
    char commands[MAX_LINE], *rest = commands, *command;
    snprintf(commands, sizeof commands, "%s", repeater->commands);
    while ((command = strsep(&rest, ";")) != NULL) {
      struct call call = {0};
      run(&call, command);
      if (call.is_bad && repeater->complaint[0] == 0)
        snprintf(repeater->complaint, sizeof repeater->complaint, " %s", call.outcome);
    }
    repeater->rounds++;
  }
  return NULL;
}

void repeat(struct call *call) {
  struct repeater *repeater = PLACE(repeaters, word(call, 1));
  repeater->commands[0] = 0;
  for (int i = 2; i < call->count; i++) {
    strncat(repeater->commands, call->words[i], sizeof repeater->commands - strlen(repeater->commands) - 1);
    strncat(repeater->commands, " ", sizeof repeater->commands - strlen(repeater->commands) - 1);
  }
  repeater->rounds = 0;
  repeater->complaint[0] = 0;
  atomic_store(&repeater->is_ending, false);
  repeater->thing.is_open = true;
  errno = pthread_create(&repeater->thread, NULL, repeat_commands, repeater);
  if (errno != 0) failed(call);
}

void end_repeating(struct call *call) {
  struct repeater *repeater = FIND(repeaters, word(call, 1));
  atomic_store(&repeater->is_ending, true);
  pthread_join(repeater->thread, NULL);
  repeater->thing.is_open = false;
  say(call, "%lu%s", repeater->rounds, repeater->complaint);
}


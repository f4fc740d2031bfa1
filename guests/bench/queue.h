/* A split virtqueue, VIRTIO 1.2 §2.7: the driver's side. Chains are laid out once and submitted again and again. */
#ifndef QUEUE_H
#define QUEUE_H

#include "virtio.h"

#define MAX_PARTS 64

struct part {
  uint64_t address;
  uint32_t length;
  bool device_writes;
};

struct queue {
  /* Constant after the set-up. */
  struct device *device;
  uint16_t size;
  uint16_t span; /* Descriptors of a chain in the ring; 1 with indirect tables. */
  uint16_t slots; /* Chains that fit. */
  bool indirect, event_idx;
  enum interrupts interrupts;
  volatile uint16_t *notify;
  uint16_t index;
  struct descriptor *descriptors, *tables;
  volatile uint16_t *avail, *used;
  /* The driver's state. */
  uint16_t avail_index, notified_index, used_index;
  uint64_t interrupts_seen;
  uint64_t notifications;
};

/* Sets up queue `index` for chains of at most `parts` descriptors; `area` chooses its memory. */
void queue_set_up(struct queue *queue, struct device *device, uint16_t index, unsigned area, unsigned parts,
                  enum interrupts interrupts);
/* Lays out chain `slot`. */
void queue_lay(struct queue *queue, unsigned slot, const struct part *parts, unsigned count);
/* Makes chain `slot` available; the device may not look before `queue_notify`. */
void queue_submit(struct queue *queue, unsigned slot);
/* Notifies the device if it wants that. */
void queue_notify(struct queue *queue);
/* The slot of the next used chain, or -1; `length` (may be NULL): bytes that the device wrote. */
int queue_take(struct queue *queue, uint32_t *length);
/* Asks for an interrupt at the next completion, or for none, as the queue's mode has it. True: one is there by now. */
bool queue_arm(struct queue *queue);
/* Waits for a used chain as the queue's mode has it, behind a `queue_arm` that was false; fails after some seconds. */
void queue_wait(struct queue *queue);

/* Starts the clock of `queue_wait`'s time limit. */
void queue_clock(uint64_t tsc_khz);

#endif

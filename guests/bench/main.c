/*
 * The bench guest. Words of the command line: `tsc_khz=N` first, then tests, each `NAME[,OPTION=VALUE...]`, run in
 * their order; options are the fields of struct options (test.h). Every figure is a line `WORD.metric value unit` on
 * COM1. The machine ends with status 1 (debug exit of 0) after the last test, with 3 after an error.
 */
#include "memory.h"
#include "pci.h"
#include "print.h"
#include "queue.h"
#include "test.h"

#define MULTIBOOT_INFO_CMDLINE 4
#define MAX_COMMAND_LINE 2048

/* Multiboot 0.6.96 §3.3, as far as it is used. */
struct multiboot_info {
  uint32_t flags, mem_lower, mem_upper, boot_device, cmdline;
};

static const struct {
  const char *name;
  void (*run)(const struct options *);
} tests[] = {
    {"port-write", test_port_write},       {"port-read", test_port_read},
    {"common-config", test_common_config}, {"device-config", test_device_config},
    {"rng", test_entropy},                 {"blk-id", test_block_id},
    {"blk-read", test_block_read},         {"blk-write", test_block_write},
    {"net-echo", test_net_echo},           {"net-send", test_net_send},
    {"net-receive", test_net_receive},     {"iommu-map", test_iommu_map},
    {"iommu-unmap", test_iommu_unmap},     {"iommu-pair", test_iommu_pair},
    {"iommu-fill", test_iommu_fill},       {"iommu-probe", test_iommu_probe},
    {"iommu-attach", test_iommu_attach},   {"iommu-unmapped", test_iommu_unmapped},
    {"iommu-removed", test_iommu_removed}, {"iommu-read-only", test_iommu_read_only},
    {"iommu-blocked", test_iommu_blocked}, {"iommu-msi", test_iommu_msi},
};

static char command_line[MAX_COMMAND_LINE];

/* At CPL 0, which may be emulated: only what cannot be done later. */
void setup(const struct multiboot_info *info) {
  setup_interrupts();
  pci_scan(virtio_found);
  if ((info->flags & MULTIBOOT_INFO_CMDLINE) == 0) return;
  const char *from = (const char *)(uintptr_t)info->cmdline;
  for (unsigned i = 0; i < sizeof command_line - 1 && from[i] != 0; i++) command_line[i] = from[i];
}

/* The rest of `text` behind `prefix`, or NULL. */
static const char *behind(const char *text, const char *prefix) {
  while (*prefix != 0)
    if (*text++ != *prefix++) return NULL;
  return text;
}

static bool equal(const char *a, const char *b) {
  const char *rest = behind(a, b);
  return rest != NULL && *rest == 0;
}

static uint64_t parse_number(const char *text) {
  uint64_t value = 0;
  if (*text == 0) fail("an option lacks its number");
  for (; *text != 0; text++) {
    if (*text < '0' || *text > '9') fail("an option's value is no number");
    value = value * 10 + (*text - '0');
  }
  return value;
}

static enum interrupts parse_interrupts(const char *text) {
  if (equal(text, "off")) return INTERRUPTS_OFF;
  if (equal(text, "sent")) return INTERRUPTS_SENT;
  if (equal(text, "taken")) return INTERRUPTS_TAKEN;
  if (equal(text, "halt")) return INTERRUPTS_HALT;
  fail("interrupts= is followed by off, sent, taken or halt");
}

static enum dma parse_dma(const char *text) {
  if (equal(text, "direct")) return DMA_DIRECT;
  if (equal(text, "static")) return DMA_STATIC;
  if (equal(text, "strict")) return DMA_STRICT;
  fail("dma= is followed by direct, static or strict");
}

static void parse_option(struct options *options, const char *text) {
  const char *value;
  if ((value = behind(text, "count=")) != NULL) options->count = parse_number(value);
  else if ((value = behind(text, "depth=")) != NULL) options->depth = parse_number(value);
  else if ((value = behind(text, "size=")) != NULL) options->size = parse_number(value);
  else if ((value = behind(text, "segment=")) != NULL) options->segment = parse_number(value);
  else if ((value = behind(text, "device=")) != NULL) options->device = parse_number(value);
  else if ((value = behind(text, "sequential=")) != NULL) options->sequential = parse_number(value) != 0;
  else if ((value = behind(text, "event_idx=")) != NULL) options->event_idx = parse_number(value) != 0;
  else if ((value = behind(text, "indirect=")) != NULL) options->indirect = parse_number(value) != 0;
  else if ((value = behind(text, "segmentation=")) != NULL) options->segmentation = parse_number(value) != 0;
  else if ((value = behind(text, "resident=")) != NULL) options->resident = parse_number(value);
  else if ((value = behind(text, "dma=")) != NULL) options->dma = parse_dma(value);
  else if ((value = behind(text, "interrupts=")) != NULL) options->interrupts = parse_interrupts(value);
  else fail("there is an unknown option");
}

uint64_t ring_features(const struct options *options) {
  return (options->event_idx ? VIRTIO_F_RING_EVENT_IDX : 0) | (options->indirect ? VIRTIO_F_RING_INDIRECT_DESC : 0);
}

/* Cuts `text` at the next `separator`; the rest, or NULL at the end. */
static char *cut(char *text, char separator) {
  for (; *text != 0; text++)
    if (*text == separator) {
      *text = 0;
      return text + 1;
    }
  return NULL;
}

/* A test's own copy of its word is cut at the commas. */
static void run_word(const char *word) {
  static char copy[MAX_COMMAND_LINE];
  struct options options = {.word = word, .count = 1000, .depth = 1, .size = 4096, .event_idx = true, .indirect = true};
  memcpy(copy, word, sizeof copy - 1 - (word - command_line));
  char *next = cut(copy, ',');
  while (next != NULL) {
    char *option = next;
    next = cut(option, ',');
    parse_option(&options, option);
  }
  if (options.count == 0 || options.depth == 0 || options.size == 0) fail("count, depth and size are at least 1");
  for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++)
    if (equal(copy, tests[i].name)) {
      allow_interrupts(options.interrupts == INTERRUPTS_TAKEN || options.interrupts == INTERRUPTS_HALT);
      tests[i].run(&options);
      allow_interrupts(false);
      return;
    }
  fail("there is an unknown test");
}

void run_tests(void) {
  /* The first word is the name of the image. */
  char *next = cut(command_line, ' ');
  uint64_t tsc_khz = 0;
  while (next != NULL) {
    char *word = next;
    next = cut(word, ' ');
    const char *value = behind(word, "tsc_khz=");
    if (*word == 0) continue;
    if (value != NULL) {
      tsc_khz = parse_number(value);
      queue_clock(tsc_khz);
      samples_clock(tsc_khz);
      continue;
    }
    if (tsc_khz == 0) fail("the first word is tsc_khz=");
    run_word(word);
  }
  print("done\n");
  end(0);
}

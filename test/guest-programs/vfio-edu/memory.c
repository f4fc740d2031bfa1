/* Containers, memory, and what is mapped. */
#include "call.h"
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* A file is read in pieces of this size, of which its own is a multiple. */
#define CHUNK 65536ul

struct container {
  struct thing thing;
  int fd;
};

struct memory {
  struct thing thing;
  uint8_t *bytes;
  size_t size;
  /* What it is a copy of. */
  int fd;
};

static struct container containers[MAX_THINGS];
static struct memory memories[MAX_THINGS];

void open_container(struct call *call) {
  struct container *container = PLACE(containers, word(call, 1));
  container->fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
  if (container->fd < 0) return failed(call);
  if (ioctl(container->fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) != 1) return bad(call, "no type1v2");
  container->thing.is_open = true;
}

int container_fd(const char *name) { return ((struct container *)FIND(containers, name))->fd; }

void allocate(struct call *call) {
  struct memory *memory = PLACE(memories, word(call, 1));
  memory->size = number(call, 2, PAGE);
  memory->bytes = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
  if (memory->bytes == MAP_FAILED) return failed(call);
  memset(memory->bytes, 0, memory->size);
  memory->thing.is_open = true;
}

/* The part of a memory that a command means. */
struct part {
  uint8_t *bytes;
  size_t size, offset;
};

static struct part part(struct call *call, int index, int offset_index) {
  struct memory *memory = FIND(memories, word(call, index));
  size_t offset = number(call, offset_index, 0), size = number(call, offset_index + 1, memory->size - offset);
  if (offset > memory->size || size > memory->size - offset) {
    fprintf(stderr, "vfio-edu: outside of %s\n", memory->thing.name);
    exit(2);
  }
  return (struct part){memory->bytes + offset, size, offset};
}

void map(struct call *call) {
  struct part what = part(call, 2, 4);
  const char *mode = word(call, 6);
  struct vfio_iommu_type1_dma_map request = {
      .argsz = sizeof request,
      .flags = (*mode == 'w' ? 0 : VFIO_DMA_MAP_FLAG_READ) | (*mode == 'r' ? 0 : VFIO_DMA_MAP_FLAG_WRITE),
      .vaddr = (uintptr_t)what.bytes,
      .iova = number(call, 3, 0),
      .size = what.size,
  };
  if (ioctl(container_fd(word(call, 1)), VFIO_IOMMU_MAP_DMA, &request) < 0) failed(call);
}

void unmap(struct call *call) {
  struct vfio_iommu_type1_dma_unmap request = {
      .argsz = sizeof request, .iova = number(call, 2, 0), .size = number(call, 3, PAGE)};
  if (ioctl(container_fd(word(call, 1)), VFIO_IOMMU_UNMAP_DMA, &request) < 0) return failed(call);
  say(call, "%llu", (unsigned long long)request.size);
}

static uint8_t pattern_byte(unsigned long seed, size_t at) {
  return seed == 0 ? 0 : (uint8_t)(seed * 151 + at * 7 + (at >> 8) * 13 + (at >> 16) * 29) | 1;
}

void write_pattern(struct call *call) {
  struct part what = part(call, 1, 3);
  unsigned long seed = number(call, 2, 0);
  for (size_t i = 0; i < what.size; i++) what.bytes[i] = pattern_byte(seed, what.offset + i);
}

void check_pattern(struct call *call) {
  struct part what = part(call, 1, 3);
  unsigned long seed = number(call, 2, 0), different = 0;
  for (size_t i = 0; i < what.size; i++)
    if (((volatile uint8_t *)what.bytes)[i] != pattern_byte(seed, what.offset + i)) different++;
  say(call, "%lu", different);
}

/* /proc/self/pagemap, an entry for each page: bits 0 to 54 are the frame's number. */
void physical(struct call *call) {
  struct part what = part(call, 1, 2);
  uintptr_t address = (uintptr_t)what.bytes;
  uint64_t entry;
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  /* A file's page has a frame here once it was looked at. */
  (void)*(volatile uint8_t *)address;
  if (fd < 0 || pread(fd, &entry, sizeof entry, (off_t)(address / PAGE * sizeof entry)) != sizeof entry)
    return failed(call);
  close(fd);
  uint64_t frame = entry & ((1ull << 55) - 1);
  say(call, "0x%llx", (unsigned long long)(frame * PAGE + address % PAGE));
}

/* Sets its size, too. */
static int open_file(struct memory *memory, const char *path) {
  memory->fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t size = memory->fd < 0 ? -1 : lseek(memory->fd, 0, SEEK_END);
  if (size <= 0) return -1;
  memory->size = (size_t)size;
  return 0;
}

void share_file(struct call *call) {
  struct memory *memory = PLACE(memories, word(call, 1));
  if (open_file(memory, word(call, 2)) < 0) return failed(call);
  memory->bytes = mmap(NULL, memory->size, PROT_READ, MAP_SHARED, memory->fd, 0);
  if (memory->bytes == MAP_FAILED) return failed(call);
  memory->thing.is_open = true;
}

void keep_file(struct call *call) {
  struct memory *memory = PLACE(memories, word(call, 1));
  if (open_file(memory, word(call, 2)) < 0) return failed(call);
  memory->bytes = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory->bytes == MAP_FAILED) return failed(call);
  memory->thing.is_open = true;
  keep_again(call);
}

void keep_again(struct call *call) {
  struct memory *memory = FIND(memories, word(call, 1));
  for (size_t at = 0; at < memory->size; at += CHUNK)
    if (pread(memory->fd, memory->bytes + at, CHUNK, (off_t)at) < 0) return failed(call);
}

/* Read, not mapped: memory that nobody has touched stays away. */
void changes(struct call *call) {
  static uint8_t chunk[CHUNK];
  struct memory *memory = FIND(memories, word(call, 1));
  size_t count = 0, first = 0, last = 0;
  for (size_t at = 0; at < memory->size; at += CHUNK) {
    ssize_t size = pread(memory->fd, chunk, CHUNK, (off_t)at);
    if (size < 0) return failed(call);
    if (memcmp(chunk, memory->bytes + at, (size_t)size) == 0) continue;
    for (size_t i = 0; i < (size_t)size; i++) {
      if (chunk[i] == memory->bytes[at + i]) continue;
      if (count++ == 0) first = at + i;
      last = at + i;
    }
  }
  if (count == 0) return say(call, "0");
  say(call, "%zu 0x%zx 0x%zx", count, first, last);
}

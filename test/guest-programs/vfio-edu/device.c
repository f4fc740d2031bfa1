/* edu devices. QEMU's docs/specs/edu. */
#include "call.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* edu's registers. */
#define EDU_ID 0x00
#define EDU_ID_VALUE 0x010000ed
#define EDU_FACTORIAL 0x08
#define EDU_STATUS 0x20
#define EDU_STATUS_COMPUTING 0x01
#define EDU_INTERRUPT_STATUS 0x24
#define EDU_INTERRUPT_RAISE 0x60
#define EDU_INTERRUPT_ACKNOWLEDGE 0x64
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_DESTINATION 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_DMA_RUN 0x01
#define EDU_DMA_TO_MEMORY 0x02
#define EDU_DMA_INTERRUPT 0x04
#define EDU_BUFFER 0x40000
/* One byte less than the buffer's size: QEMU 7.2 ends itself for a transfer that fills it. */
#define EDU_MAX_COUNT 4095

/* edu starts a transfer 100 ms after the command, of its machine's time. */
#define TRANSFER_LIMIT_MS 20000

struct device {
  struct thing thing;
  int group;
  int fd;
  volatile uint8_t *bar;
  size_t bar_size;
  /* VFIO_PCI_INTX_IRQ_INDEX or VFIO_PCI_MSI_IRQ_INDEX, with its eventfd; -1: none. */
  int irq;
  int event;
};

static struct device devices[MAX_THINGS];

static uint32_t get(struct device *device, size_t at) { return *(volatile uint32_t *)(device->bar + at); }
static void put(struct device *device, size_t at, uint32_t value) { *(volatile uint32_t *)(device->bar + at) = value; }

static int open_group(const char *address) {
  char path[128], target[128];
  snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/iommu_group", address);
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length < 0) return -1;
  target[length] = 0;
  snprintf(path, sizeof path, "/dev/vfio/%s", strrchr(target, '/') + 1);
  return open(path, O_RDWR | O_CLOEXEC);
}

/* Memory space and bus master on. */
static int enable(int fd) {
  struct vfio_region_info info = {.argsz = sizeof info, .index = VFIO_PCI_CONFIG_REGION_INDEX};
  uint16_t command;
  if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0) return -1;
  if (pread(fd, &command, 2, info.offset + PCI_COMMAND) != 2) return -1;
  command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
  return pwrite(fd, &command, 2, info.offset + PCI_COMMAND) == 2 ? 0 : -1;
}

static void *map_bar(int fd, size_t *size) {
  struct vfio_region_info info = {.argsz = sizeof info, .index = VFIO_PCI_BAR0_REGION_INDEX};
  if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0) return MAP_FAILED;
  *size = info.size;
  return mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, info.offset);
}

/* The device itself, of a group that is open and in its container. */
static void open_in_group(struct call *call, struct device *device, const char *address) {
  device->fd = ioctl(device->group, VFIO_GROUP_GET_DEVICE_FD, address);
  if (device->fd < 0 || enable(device->fd) < 0) return failed(call);
  device->bar = map_bar(device->fd, &device->bar_size);
  if (device->bar == MAP_FAILED) return failed(call);
  device->irq = -1;
  device->thing.is_open = true;
  if (get(device, EDU_ID) != EDU_ID_VALUE) bad(call, "no edu");
}

void open_device(struct call *call) {
  struct device *device = PLACE(devices, word(call, 1));
  int container = container_fd(word(call, 3));
  struct vfio_group_status status = {.argsz = sizeof status};
  device->group = open_group(word(call, 2));
  if (device->group < 0) return failed(call);
  if (ioctl(device->group, VFIO_GROUP_GET_STATUS, &status) < 0) return failed(call);
  if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) return bad(call, "not viable");
  if (ioctl(device->group, VFIO_GROUP_SET_CONTAINER, &container) < 0) return failed(call);
  /* Another group may have set it already. */
  if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0 && errno != EBUSY && errno != EINVAL)
    return failed(call);
  open_in_group(call, device, word(call, 2));
}

void open_mate(struct call *call) {
  struct device *device = PLACE(devices, word(call, 1));
  struct device *other = FIND(devices, word(call, 3));
  /* A group is opened once. */
  device->group = dup(other->group);
  if (device->group < 0) return failed(call);
  open_in_group(call, device, word(call, 2));
}

static int set_irq(struct device *device, uint32_t action, int event) {
  char buffer[sizeof(struct vfio_irq_set) + sizeof event];
  struct vfio_irq_set *set = (struct vfio_irq_set *)buffer;
  bool is_trigger = action == VFIO_IRQ_SET_ACTION_TRIGGER;
  bool has_event = is_trigger && event >= 0;
  *set = (struct vfio_irq_set){
      .argsz = sizeof *set + (has_event ? sizeof event : 0),
      .flags = (has_event ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE) | action,
      .index = (uint32_t)device->irq,
      .count = is_trigger && !has_event ? 0 : 1,
  };
  if (has_event) memcpy(set->data, &event, sizeof event);
  return ioctl(device->fd, VFIO_DEVICE_SET_IRQS, set);
}

void close_device(struct call *call) {
  struct device *device = FIND(devices, word(call, 1));
  if (device->irq >= 0) {
    set_irq(device, VFIO_IRQ_SET_ACTION_TRIGGER, -1);
    close(device->event);
  }
  munmap((void *)device->bar, device->bar_size);
  close(device->fd);
  if (ioctl(device->group, VFIO_GROUP_UNSET_CONTAINER) < 0) failed(call);
  close(device->group);
  device->thing.is_open = false;
}

static uint32_t direction(struct call *call) { return *word(call, 2) == 'i' ? EDU_DMA_TO_MEMORY : 0; }

void prepare(struct call *call) {
  struct device *device = FIND(devices, word(call, 1));
  unsigned long iova = number(call, 3, 0), count = number(call, 4, PAGE / 2);
  if (count > EDU_MAX_COUNT) return bad(call, "too much");
  bool is_in = direction(call) != 0;
  put(device, EDU_DMA_SOURCE, is_in ? EDU_BUFFER : iova);
  put(device, EDU_DMA_DESTINATION, is_in ? iova : EDU_BUFFER);
  put(device, EDU_DMA_COUNT, count);
}

static void start_transfer(struct call *call, bool has_interrupt) {
  struct device *device = FIND(devices, word(call, 1));
  /* QEMU ends itself for a transfer of nothing, too. */
  if (get(device, EDU_DMA_COUNT) == 0) return bad(call, "not prepared");
  put(device, EDU_DMA_COMMAND, EDU_DMA_RUN | direction(call) | (has_interrupt ? EDU_DMA_INTERRUPT : 0));
}

static void pause_ms(unsigned ms) {
  struct timespec time = {.tv_nsec = ms * 1000000l};
  nanosleep(&time, NULL);
}

static void wait_for(struct call *call, size_t at, uint32_t bit) {
  struct device *device = FIND(devices, word(call, 1));
  for (unsigned ms = 0; (get(device, at) & bit) != 0; ms += 5) {
    if (ms > TRANSFER_LIMIT_MS) return bad(call, "busy");
    pause_ms(5);
  }
}

void start(struct call *call) { start_transfer(call, *word(call, 3) == 'i'); }

void wait_for_transfer(struct call *call) { wait_for(call, EDU_DMA_COMMAND, EDU_DMA_RUN); }

void transfer(struct call *call) {
  prepare(call);
  if (call->is_bad) return;
  start_transfer(call, *word(call, 5) == 'i');
  wait_for_transfer(call);
}

void factorial(struct call *call) {
  struct device *device = FIND(devices, word(call, 1));
  put(device, EDU_FACTORIAL, number(call, 2, 1));
  wait_for(call, EDU_STATUS, EDU_STATUS_COMPUTING);
  if (!call->is_bad) say(call, "%u", get(device, EDU_FACTORIAL));
}

void take_interrupts(struct call *call) {
  struct device *device = FIND(devices, word(call, 1));
  device->irq = *word(call, 2) == 'm' ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_INTX_IRQ_INDEX;
  device->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (set_irq(device, VFIO_IRQ_SET_ACTION_TRIGGER, device->event) == 0) return;
  failed(call);
  device->irq = -1;
}

void raise_interrupt(struct call *call) {
  put(FIND(devices, word(call, 1)), EDU_INTERRUPT_RAISE, number(call, 2, 1));
}

void await_interrupt(struct call *call) {
  struct device *device = FIND(devices, word(call, 1));
  struct pollfd event = {.fd = device->event, .events = POLLIN};
  uint64_t count;
  if (poll(&event, 1, (int)number(call, 2, 1000)) <= 0 || read(device->event, &count, sizeof count) < 0)
    return say(call, "none");
  uint32_t status = get(device, EDU_INTERRUPT_STATUS);
  put(device, EDU_INTERRUPT_ACKNOWLEDGE, status);
  /* The host masks INTx when it comes. */
  if (device->irq == VFIO_PCI_INTX_IRQ_INDEX) set_irq(device, VFIO_IRQ_SET_ACTION_UNMASK, -1);
  say(call, "0x%x", status);
}


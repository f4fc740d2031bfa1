/* Discovery and initialisation, VIRTIO 1.2 §3.1 and §4.1.5. */
#include "virtio.h"
#include "memory.h"
#include "pci.h"
#include "print.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_DEVICE_BASE 0x1040
#define MAX_DEVICES 8

/* struct virtio_pci_cap, §4.1.4: offsets. */
#define CAP_CFG_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define NOTIFY_CAP_MULTIPLIER 16
#define VIRTIO_PCI_CAP_COMMON_CFG 1
#define VIRTIO_PCI_CAP_NOTIFY_CFG 2
#define VIRTIO_PCI_CAP_DEVICE_CFG 4

#define MSIX_CONTROL 2
#define MSIX_CONTROL_ENABLE 0x8000
#define MSIX_CONTROL_MASK_ALL 0x4000
#define MSIX_TABLE 4
#define MSIX_BIR 7
#define MSIX_ENTRY_MASKED 1

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8
#define VIRTIO_MSI_NO_VECTOR 0xffff

static struct device devices[MAX_DEVICES];
static unsigned device_count;

void virtio_set_message(struct device *device, uint64_t address) {
  volatile uint32_t *entry = device->msix;
  if (entry == NULL) fail("the device has no MSI-X");
  entry[3] = MSIX_ENTRY_MASKED;
  entry[0] = address;
  entry[1] = address >> 32;
  entry[2] = DEVICE_VECTOR;
  entry[3] = 0;
}

static void enable_msix(struct device *device, const struct pci_function *function) {
  uint8_t at = pci_capability(function, PCI_CAP_ID_MSIX, 0);
  if (at == 0) return;
  uint32_t table = pci_read(function, at + MSIX_TABLE, 4);
  device->msix = (volatile uint32_t *)(function->bars[table & MSIX_BIR] + (table & ~(uint32_t)MSIX_BIR));
  uint16_t control = pci_read(function, at + MSIX_CONTROL, 2);
  pci_write16(function, at + MSIX_CONTROL, (control | MSIX_CONTROL_ENABLE) & ~MSIX_CONTROL_MASK_ALL);
  virtio_set_message(device, LAPIC_START);
}

void virtio_found(const struct pci_function *function) {
  if (function->vendor != VIRTIO_VENDOR || function->device <= VIRTIO_DEVICE_BASE) return;
  if (device_count == MAX_DEVICES) fail("too many virtio devices");
  struct device *device = &devices[device_count++];
  device->id = function->device - VIRTIO_DEVICE_BASE;
  device->address = function->address;
  for (uint8_t at = 0; (at = pci_capability(function, PCI_CAP_ID_VNDR, at)) != 0;) {
    uint8_t type = pci_read(function, at + CAP_CFG_TYPE, 1);
    uint8_t bar = pci_read(function, at + CAP_BAR, 1);
    if (bar >= PCI_BARS || function->bars[bar] == 0) continue;
    uint8_t *start = (uint8_t *)(function->bars[bar] + pci_read(function, at + CAP_OFFSET, 4));
    if (type == VIRTIO_PCI_CAP_COMMON_CFG) device->common = (volatile struct common_config *)start;
    if (type == VIRTIO_PCI_CAP_DEVICE_CFG) device->config = start;
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
      device->notify = start;
      device->notify_multiplier = pci_read(function, at + NOTIFY_CAP_MULTIPLIER, 4);
    }
  }
  if (device->common == NULL || device->notify == NULL) fail("a virtio device lacks a structure");
  enable_msix(device, function);
}

struct device *virtio_device(uint16_t id, unsigned index) {
  for (unsigned i = 0; i < device_count; i++)
    if (devices[i].id == id && index-- == 0) return &devices[i];
  fail("the machine has no such virtio device");
}

void virtio_reset(struct device *device, uint64_t wanted) {
  volatile struct common_config *common = device->common;
  common->device_status = 0;
  while (common->device_status != 0) pause();
  common->device_status = ACKNOWLEDGE;
  common->device_status = ACKNOWLEDGE | DRIVER;
  common->device_feature_select = 0;
  uint64_t offered = common->device_feature;
  common->device_feature_select = 1;
  offered |= (uint64_t)common->device_feature << 32;
  device->features = offered & (wanted | VIRTIO_F_VERSION_1 | VIRTIO_F_ACCESS_PLATFORM);
  common->driver_feature_select = 0;
  common->driver_feature = device->features;
  common->driver_feature_select = 1;
  common->driver_feature = device->features >> 32;
  common->device_status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
  if ((common->device_status & FEATURES_OK) == 0) fail("the device refuses the features");
  common->config_msix_vector = VIRTIO_MSI_NO_VECTOR;
}

void virtio_start(struct device *device) {
  device->common->device_status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
}

/* PCI by configuration mechanism 1 (PCI Local Bus 3.0 §3.2.2.3.2). The firmware has placed BARs and bus numbers. */
#include "pci.h"
#include "print.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000u

#define PCI_VENDOR_ID 0x00
#define PCI_COMMAND 0x04
#define PCI_COMMAND_MEMORY 0x02
#define PCI_COMMAND_MASTER 0x04
#define PCI_STATUS 0x06
#define PCI_STATUS_CAP_LIST 0x10
#define PCI_HEADER_TYPE 0x0e
#define PCI_HEADER_TYPE_MULTI 0x80
#define PCI_HEADER_TYPE_BRIDGE 0x01
#define PCI_BASE_ADDRESS_0 0x10
#define PCI_BASE_ADDRESS_SPACE_IO 0x01
#define PCI_BASE_ADDRESS_MEM_TYPE_64 0x04
#define PCI_SECONDARY_BUS 0x19
#define PCI_CAPABILITY_LIST 0x34
#define MAX_CAPABILITIES 48

#define PAGE_ENTRIES 512
#define LARGE_PAGE 0x200000ul
#define TABLE_FLAGS 0x07
#define LARGE_FLAGS 0x87
#define MAX_TABLES 16

extern uint64_t pml4[];
static uint64_t tables[MAX_TABLES][PAGE_ENTRIES] __attribute__((aligned(4096)));
static unsigned tables_used;

static uint64_t *next_table(uint64_t *entry) {
  if (*entry == 0) {
    if (tables_used == MAX_TABLES) fail("too many page tables for the BARs");
    *entry = (uintptr_t)tables[tables_used++] | TABLE_FLAGS;
  }
  return (uint64_t *)(*entry & 0xffffffffff000);
}

/* Maps the large page around `address`, open to CPL 3. Nothing there was accessed before, so no TLB holds it. */
static void map(uint64_t address) {
  uint64_t *pointers = next_table(&pml4[address >> 39 & 511]);
  uint64_t *directory = next_table(&pointers[address >> 30 & 511]);
  uint64_t *entry = &directory[address >> 21 & 511];
  if (*entry == 0) *entry = (address & ~(LARGE_PAGE - 1)) | LARGE_FLAGS;
}

uint32_t pci_read(const struct pci_function *function, uint8_t offset, unsigned size) {
  out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)function->address << 8 | (offset & ~3u));
  uint32_t value = in32(CONFIG_DATA) >> (offset & 3) * 8;
  return size == 4 ? value : value & ((1u << size * 8) - 1);
}

void pci_write16(const struct pci_function *function, uint8_t offset, uint16_t value) {
  out32(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)function->address << 8 | (offset & ~3u));
  __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"((uint16_t)(CONFIG_DATA + (offset & 3))));
}

uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after) {
  if ((pci_read(function, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST) == 0) return 0;
  uint8_t at = pci_read(function, after == 0 ? PCI_CAPABILITY_LIST : after + 1, 1);
  for (unsigned i = 0; i < MAX_CAPABILITIES && at >= 0x40; i++) {
    if (pci_read(function, at, 1) == id) return at;
    at = pci_read(function, at + 1, 1);
  }
  return 0;
}

static void read_bars(struct pci_function *function) {
  for (unsigned i = 0; i < PCI_BARS; i++) {
    uint32_t low = pci_read(function, PCI_BASE_ADDRESS_0 + i * 4, 4);
    if ((low & PCI_BASE_ADDRESS_SPACE_IO) != 0) continue;
    uint64_t address = low & ~0xfu;
    unsigned index = i;
    if ((low & PCI_BASE_ADDRESS_MEM_TYPE_64) != 0)
      address |= (uint64_t)pci_read(function, PCI_BASE_ADDRESS_0 + ++i * 4, 4) << 32;
    if (address == 0) continue;
    function->bars[index] = address;
    map(address);
  }
}

static void scan_bus(uint8_t bus, void (*visit)(const struct pci_function *)) {
  for (unsigned slot = 0; slot < 256; slot++) {
    struct pci_function function = {.address = bus << 8 | slot};
    function.vendor = pci_read(&function, PCI_VENDOR_ID, 2);
    if (function.vendor == 0xffff) {
      if ((slot & 7) == 0) slot += 7;
      continue;
    }
    function.device = pci_read(&function, PCI_VENDOR_ID + 2, 2);
    uint8_t type = pci_read(&function, PCI_HEADER_TYPE, 1);
    if ((type & 0x7f) == PCI_HEADER_TYPE_BRIDGE) {
      uint8_t secondary = pci_read(&function, PCI_SECONDARY_BUS, 1);
      if (secondary > bus) scan_bus(secondary, visit);
    } else {
      uint16_t command = pci_read(&function, PCI_COMMAND, 2);
      read_bars(&function);
      pci_write16(&function, PCI_COMMAND, command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
      visit(&function);
    }
    if ((slot & 7) == 0 && (type & PCI_HEADER_TYPE_MULTI) == 0) slot += 7;
  }
}

void pci_scan(void (*visit)(const struct pci_function *)) { scan_bus(0, visit); }

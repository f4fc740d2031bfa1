/* The PCI functions of the machine, found and mapped at CPL 0 before the tests. */
#ifndef PCI_H
#define PCI_H

#include "cpu.h"

#define PCI_BARS 6
#define PCI_CAP_ID_VNDR 0x09
#define PCI_CAP_ID_MSIX 0x11

struct pci_function {
  uint16_t address; /* bus << 8 | device << 3 | function */
  uint16_t vendor, device;
  uint64_t bars[PCI_BARS]; /* 0: none, or not memory */
};

uint32_t pci_read(const struct pci_function *function, uint8_t offset, unsigned size);
void pci_write16(const struct pci_function *function, uint8_t offset, uint16_t value);
/* Offset of the next capability with this id behind `after` (0: the first), or 0. */
uint8_t pci_capability(const struct pci_function *function, uint8_t id, uint8_t after);
/* Calls `visit` for every function on the root bus and behind its bridges; memory BARs are mapped by then. */
void pci_scan(void (*visit)(const struct pci_function *));

#endif

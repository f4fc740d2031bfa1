/**
 * Registers of configuration space, named as in linux/pci_regs.h. PCI Local Bus 3.0 §6.1 and §6.2, PCI-to-PCI Bridge
 * 1.2 §3.2, PCI Express 5.0 §7.5.
 */

/** Bytes of a function's configuration space, and of its part that ports 0xcf8 and 0xcfc reach. */
export const CONFIG_SPACE_SIZE = 4096
export const CONVENTIONAL_SIZE = 256

export const PCI_VENDOR_ID = 0x00
export const PCI_DEVICE_ID = 0x02

export const PCI_COMMAND = 0x04
export const PCI_COMMAND_IO = 0x1
export const PCI_COMMAND_MEMORY = 0x2
export const PCI_COMMAND_MASTER = 0x4
export const PCI_COMMAND_PARITY = 0x40
export const PCI_COMMAND_SERR = 0x100
export const PCI_COMMAND_INTX_DISABLE = 0x400

export const PCI_STATUS = 0x06
export const PCI_STATUS_INTERRUPT = 0x08
export const PCI_STATUS_CAP_LIST = 0x10
/** The error bits, all cleared by writing ones. */
export const PCI_STATUS_ERRORS = 0xf900

export const PCI_CLASS_REVISION = 0x08
export const PCI_CACHE_LINE_SIZE = 0x0c
export const PCI_HEADER_TYPE = 0x0e
export const PCI_HEADER_TYPE_NORMAL = 0
export const PCI_HEADER_TYPE_BRIDGE = 1
export const PCI_HEADER_TYPE_MFD = 0x80

export const PCI_BASE_ADDRESS_0 = 0x10
export const PCI_BASE_ADDRESS_MEM_TYPE_64 = 0x04
export const PCI_BASE_ADDRESS_MEM_PREFETCH = 0x08
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c
export const PCI_SUBSYSTEM_ID = 0x2e
export const PCI_CAPABILITY_LIST = 0x34
export const PCI_INTERRUPT_LINE = 0x3c
export const PCI_INTERRUPT_PIN = 0x3d
/** Where the standard header ends. */
export const PCI_STD_HEADER_SIZEOF = 0x40

// Type 1 header.
export const PCI_PRIMARY_BUS = 0x18
export const PCI_SECONDARY_BUS = 0x19
export const PCI_SUBORDINATE_BUS = 0x1a
export const PCI_SEC_LATENCY_TIMER = 0x1b
export const PCI_SEC_STATUS = 0x1e
export const PCI_MEMORY_BASE = 0x20
export const PCI_MEMORY_LIMIT = 0x22
export const PCI_PREF_MEMORY_BASE = 0x24
export const PCI_PREF_MEMORY_LIMIT = 0x26
export const PCI_PREF_RANGE_TYPE_64 = 0x01
export const PCI_PREF_BASE_UPPER32 = 0x28
export const PCI_PREF_LIMIT_UPPER32 = 0x2c
export const PCI_BRIDGE_CONTROL = 0x3e
export const PCI_BRIDGE_CTL_PARITY = 0x01
export const PCI_BRIDGE_CTL_SERR = 0x02
export const PCI_BRIDGE_CTL_BUS_RESET = 0x40

export const PCI_CAP_ID_VNDR = 0x09
export const PCI_CAP_ID_EXP = 0x10
export const PCI_CAP_ID_MSIX = 0x11
export const PCI_EXT_CAP_ID_ACS = 0x0d

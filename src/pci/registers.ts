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
export const PCI_BASE_ADDRESS_SPACE_IO = 0x01
export const PCI_BASE_ADDRESS_MEM_TYPE_64 = 0x04
export const PCI_BASE_ADDRESS_MEM_PREFETCH = 0x08
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c
export const PCI_SUBSYSTEM_ID = 0x2e
export const PCI_ROM_ADDRESS = 0x30
export const PCI_ROM_ADDRESS_ENABLE = 0x01
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

export const PCI_CAP_ID_PM = 0x01
export const PCI_CAP_ID_VPD = 0x03
export const PCI_CAP_ID_MSI = 0x05
export const PCI_CAP_ID_PCIX = 0x07
export const PCI_CAP_ID_VNDR = 0x09
export const PCI_CAP_ID_SSVID = 0x0d
export const PCI_CAP_ID_EXP = 0x10
export const PCI_CAP_ID_MSIX = 0x11
export const PCI_CAP_ID_SATA = 0x12
export const PCI_CAP_ID_AF = 0x13

export const PCI_EXT_CAP_ID_ERR = 0x01
export const PCI_EXT_CAP_ID_VC = 0x02
export const PCI_EXT_CAP_ID_DSN = 0x03
export const PCI_EXT_CAP_ID_PWR = 0x04
export const PCI_EXT_CAP_ID_MFVC = 0x08
export const PCI_EXT_CAP_ID_VC9 = 0x09
export const PCI_EXT_CAP_ID_VNDR = 0x0b
export const PCI_EXT_CAP_ID_ACS = 0x0d
export const PCI_EXT_CAP_ID_ARI = 0x0e
export const PCI_EXT_CAP_ID_ATS = 0x0f
export const PCI_EXT_CAP_ID_SRIOV = 0x10
export const PCI_EXT_CAP_ID_MCAST = 0x12
export const PCI_EXT_CAP_ID_PRI = 0x13
export const PCI_EXT_CAP_ID_REBAR = 0x15
export const PCI_EXT_CAP_ID_DPA = 0x16
export const PCI_EXT_CAP_ID_TPH = 0x17
export const PCI_EXT_CAP_ID_LTR = 0x18
export const PCI_EXT_CAP_ID_PASID = 0x1b
export const PCI_EXT_CAP_ID_DPC = 0x1d
export const PCI_EXT_CAP_ID_L1SS = 0x1e
export const PCI_EXT_CAP_ID_PTM = 0x1f
export const PCI_EXT_CAP_ID_DVSEC = 0x23
export const PCI_EXT_CAP_ID_VF_REBAR = 0x24

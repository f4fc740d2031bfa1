/** The architecture's fixed devices, PCI and interrupts. See index.ts. */
export { FIRST_MSI_GSI, pciLineGsi, pinRoutes } from './x86-64/interrupts.ts'
export { createPci, type Pci } from './x86-64/pci.ts'
export { createPlatform, type Platform } from './x86-64/platform.ts'

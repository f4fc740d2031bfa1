/** The architecture of this host, under names that say nothing of it. What is above `arch` imports only this file. */
export { setupCpu, setupCpuid } from './x86-64/cpu.ts'
export { firmwareTables } from './x86-64/firmware.ts'
export { FIRST_MSI_GSI, pciLineGsi, pinRoutes } from './x86-64/interrupts.ts'
export { MAX_RAM, memoryMap, ramRanges } from './x86-64/layout.ts'
export { createPci, type Pci } from './x86-64/pci.ts'
export { createPlatform, type Platform, SERIAL_PORTS } from './x86-64/platform.ts'
export { formatRegisters, registerValues } from './x86-64/registers.ts'
export { prepareVm } from './x86-64/vm.ts'

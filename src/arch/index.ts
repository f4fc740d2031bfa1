/**
 * The architecture of this host, under names that say nothing of it. Three doors, so that no thread loads what it does
 * not run: this one for who builds a machine, cpu.ts for a vCPU thread, devices.ts for the device thread. What is above
 * `arch` imports only these.
 */
export { buildFirmware, type Firmware } from './x86-64/firmware.ts'
export { MAX_RAM, MSI_DOORBELLS, memoryMap, ramRanges, SERIAL_PORTS } from './x86-64/layout.ts'
export { formatRegisters, registerValues } from './x86-64/registers.ts'
export { prepareVm } from './x86-64/vm.ts'

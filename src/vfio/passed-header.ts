/** The standard header of a passed-through device: what of it is ours. PCI Local Bus 3.0 §6.2. */
import {
  PCI_BASE_ADDRESS_0,
  PCI_CACHE_LINE_SIZE,
  PCI_CAPABILITY_LIST,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_PARITY,
  PCI_COMMAND_SERR,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_ROM_ADDRESS,
  PCI_SUBSYSTEM_VENDOR_ID,
} from '../pci/registers.ts'
import type { PassedConfig } from './passed-config.ts'

/** No I/O: a guest gets no I/O BARs. */
const COMMAND_WRITABLE =
  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE

/** IDs, class, status and subsystem stay the device's. */
export function defineHeader(config: PassedConfig, pin: number): void {
  config.define(PCI_COMMAND, 2, 0, COMMAND_WRITABLE)
  config.define(PCI_CACHE_LINE_SIZE, 1, 0, 0xff)
  // Latency timer, header type (the bus knows of the other functions) and self test, which could hang the host's bus.
  config.claimRange(PCI_CACHE_LINE_SIZE + 1, 3)
  // The BARs, and the pointer into one of them that CardBus has.
  config.claimRange(PCI_BASE_ADDRESS_0, PCI_SUBSYSTEM_VENDOR_ID - PCI_BASE_ADDRESS_0)
  config.claimRange(PCI_ROM_ADDRESS, 4)
  config.claimRange(PCI_CAPABILITY_LIST, PCI_INTERRUPT_LINE - PCI_CAPABILITY_LIST)
  config.define(PCI_INTERRUPT_LINE, 1, 0, 0xff)
  config.define(PCI_INTERRUPT_PIN, 1, pin)
}

/** The registers that type 0 and type 1 headers share. PCI Local Bus 3.0 §6.2, PCI Express 5.0 §7.5.1.1. */
import { ConfigSpace } from './config-space.ts'
import {
  PCI_CACHE_LINE_SIZE,
  PCI_CLASS_REVISION,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_PARITY,
  PCI_COMMAND_SERR,
  PCI_DEVICE_ID,
  PCI_HEADER_TYPE,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_STATUS,
  PCI_STATUS_ERRORS,
  PCI_VENDOR_ID,
} from './registers.ts'

/** Nothing here has I/O BARs, so that bit stays off. */
const COMMAND_WRITABLE =
  PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE

export interface Header {
  readonly vendorId: number
  readonly deviceId: number
  readonly revision: number
  /** 24 bits: class, subclass, programming interface. */
  readonly classCode: number
  /** PCI_HEADER_TYPE_*. */
  readonly type: number
  /** 1 to 4, or 0 for none. */
  readonly interruptPin: number
}

/** A configuration space with those registers. */
export function createConfigSpace(header: Header): ConfigSpace {
  const config = new ConfigSpace()
  config.define(PCI_VENDOR_ID, 2, header.vendorId)
  config.define(PCI_DEVICE_ID, 2, header.deviceId)
  config.define(PCI_COMMAND, 2, 0, COMMAND_WRITABLE)
  config.define(PCI_STATUS, 2, 0, 0, PCI_STATUS_ERRORS)
  config.define(PCI_CLASS_REVISION, 4, (header.classCode << 8) | header.revision)
  config.define(PCI_CACHE_LINE_SIZE, 1, 0, 0xff)
  config.define(PCI_HEADER_TYPE, 1, header.type)
  config.define(PCI_INTERRUPT_LINE, 1, 0, 0xff)
  config.define(PCI_INTERRUPT_PIN, 1, header.interruptPin)
  return config
}

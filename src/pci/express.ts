/**
 * The PCI Express capability, version 2, of the kinds of function there are here. PCI Express 5.0 §7.5.3; names as in
 * linux/pci_regs.h. Links exist on paper only: they are up while something is plugged in, at one speed.
 */
import type { Capability } from './config-space.ts'
import { PCI_CAP_ID_EXP } from './registers.ts'

export const PCI_EXP_TYPE_ENDPOINT = 0x0
export const PCI_EXP_TYPE_ROOT_PORT = 0x4
export const PCI_EXP_TYPE_PCI_BRIDGE = 0x7
export const PCI_EXP_TYPE_RC_END = 0x9

const CAPABILITY_SIZE = 0x3c
const VERSION = 2

const PCI_EXP_FLAGS = 0x02
const PCI_EXP_FLAGS_SLOT = 0x0100
const PCI_EXP_DEVCAP = 0x04
const PCI_EXP_DEVCAP_RBER = 0x8000
const PCI_EXP_DEVCAP_FLR = 0x1000_0000
const PCI_EXP_DEVCTL = 0x08
const PCI_EXP_DEVSTA = 0x0a
const PCI_EXP_LNKCAP = 0x0c
const PCI_EXP_LNKCAP_DLLLARC = 0x0010_0000
const PCI_EXP_LNKCTL = 0x10
const PCI_EXP_LNKSTA = 0x12
const PCI_EXP_LNKSTA_DLLLA = 0x2000
const PCI_EXP_SLTCAP = 0x14
const PCI_EXP_SLTSTA = 0x1a
const PCI_EXP_SLTSTA_PDS = 0x40
const PCI_EXP_RTCTL = 0x1c
const PCI_EXP_LNKCAP2 = 0x2c
const PCI_EXP_LNKCTL2 = 0x30

/** Relaxed ordering, no snoop and read requests of 512 bytes: the defaults of §7.5.3.4. */
const DEVCTL_INITIAL = 0x2810
/** Error reporting, relaxed ordering, no snoop, read request size. */
const DEVCTL_WRITABLE = 0x781f
const DEVSTA_ERRORS = 0x000f
/** Initiate function level reset: bit 15 of the device control register, so bit 7 of this byte. Reads as zero. */
const RESET_BYTE = PCI_EXP_DEVCTL + 1
const RESET_BIT = 0x80

/** 8 GT/s, sixteen lanes, on both ends of every link. */
const SPEED = 3
const WIDTH = 16 << 4
/** Speeds 1 to 3, as a vector that starts at bit 1. */
const SPEED_VECTOR = 0x0e
/** ASPM control (there is none to enable), common clock, extended synch. */
const LNKCTL_WRITABLE = 0x00c3
const LNKCTL2_WRITABLE = 0x000f
/** System error and PME enables. */
const RTCTL_WRITABLE = 0x000f

/** An endpoint's capability: below a port it has a link, on the root bus it is integrated. `onReset`: FLR. */
export function endpointExpress(isIntegrated: boolean, onReset: () => void): Capability {
  const { bytes, writable, clearable, view, mask } = blank()
  view.setUint16(PCI_EXP_FLAGS, VERSION | ((isIntegrated ? PCI_EXP_TYPE_RC_END : PCI_EXP_TYPE_ENDPOINT) << 4), true)
  view.setUint32(PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR, true)
  if (!isIntegrated) {
    defineLink(view, mask)
    view.setUint16(PCI_EXP_LNKSTA, SPEED | WIDTH, true)
  }
  const onWrite = (offset: number, size: number, value: number) => {
    const shift = 8 * (RESET_BYTE - offset)
    if (offset <= RESET_BYTE && RESET_BYTE < offset + size && ((value >>> shift) & RESET_BIT) !== 0) onReset()
  }
  return { bytes, writable, clearable, onWrite }
}

/** A root port's capability, with a slot of number `slot` that is occupied or not. No hot-plug. */
export function rootPortExpress(slot: number, isOccupied: () => boolean): Capability {
  const { bytes, writable, clearable, view, mask } = blank()
  view.setUint16(PCI_EXP_FLAGS, VERSION | (PCI_EXP_TYPE_ROOT_PORT << 4) | PCI_EXP_FLAGS_SLOT, true)
  view.setUint32(PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER, true)
  defineLink(view, mask)
  view.setUint32(PCI_EXP_LNKCAP, view.getUint32(PCI_EXP_LNKCAP, true) | PCI_EXP_LNKCAP_DLLLARC | (slot << 24), true)
  view.setUint32(PCI_EXP_SLTCAP, slot << 19, true)
  mask.setUint16(PCI_EXP_RTCTL, RTCTL_WRITABLE, true)
  const onRead = (_offset: number, _size: number, stored: DataView) => {
    const up = isOccupied()
    stored.setUint16(PCI_EXP_LNKSTA, SPEED | WIDTH | (up ? PCI_EXP_LNKSTA_DLLLA : 0), true)
    stored.setUint16(PCI_EXP_SLTSTA, up ? PCI_EXP_SLTSTA_PDS : 0, true)
    return undefined
  }
  return { bytes, writable, clearable, onRead }
}

/** The capability of a bridge from PCI Express to conventional PCI: its link is the one above it. */
export function conventionalBridgeExpress(): Capability {
  const { bytes, writable, clearable, view, mask } = blank()
  view.setUint16(PCI_EXP_FLAGS, VERSION | (PCI_EXP_TYPE_PCI_BRIDGE << 4), true)
  view.setUint32(PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER, true)
  defineLink(view, mask)
  view.setUint16(PCI_EXP_LNKSTA, SPEED | WIDTH, true)
  return { bytes, writable, clearable }
}

/** What every kind has: the device registers. */
function blank() {
  const bytes = new Uint8Array(CAPABILITY_SIZE)
  const writable = new Uint8Array(CAPABILITY_SIZE)
  const clearable = new Uint8Array(CAPABILITY_SIZE)
  const view = new DataView(bytes.buffer)
  const mask = new DataView(writable.buffer)
  bytes[0] = PCI_CAP_ID_EXP
  view.setUint16(PCI_EXP_DEVCTL, DEVCTL_INITIAL, true)
  mask.setUint16(PCI_EXP_DEVCTL, DEVCTL_WRITABLE, true)
  clearable[PCI_EXP_DEVSTA] = DEVSTA_ERRORS
  return { bytes, writable, clearable, view, mask }
}

function defineLink(view: DataView, mask: DataView): void {
  view.setUint32(PCI_EXP_LNKCAP, SPEED | WIDTH, true)
  view.setUint32(PCI_EXP_LNKCAP2, SPEED_VECTOR, true)
  view.setUint16(PCI_EXP_LNKCTL2, SPEED, true)
  mask.setUint16(PCI_EXP_LNKCTL, LNKCTL_WRITABLE, true)
  mask.setUint16(PCI_EXP_LNKCTL2, LNKCTL2_WRITABLE, true)
}

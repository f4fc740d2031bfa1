/**
 * The PCI Express capability of a passed-through device: the device's own, changed to fit where the guest has it. On the
 * root bus a function is integrated and has no link; below a port it has one. Function level reset is ours. PCI Express
 * 5.0 §7.5.3; names as in linux/pci_regs.h.
 */
import { endpointExpress, PCI_EXP_TYPE_ENDPOINT, PCI_EXP_TYPE_RC_END } from '../pci/express.ts'
import type { FoundCapability } from './capability-list.ts'
import type { PassedConfig } from './passed-config.ts'

const PCI_EXP_FLAGS = 0x02
const PCI_EXP_FLAGS_VERS = 0x000f
const PCI_EXP_FLAGS_TYPE = 0x00f0
const PCI_EXP_FLAGS_SLOT = 0x0100
const TYPE_SHIFT = 4
/** The byte of the device capabilities, and the bit in it, that offer function level reset. */
const DEVCAP_FLR_BYTE = 0x07
const DEVCAP_FLR_BIT = 0x10
const PCI_EXP_DEVCTL = 0x08
/** The byte of the device control register with the bit that starts it. */
const DEVCTL_FLR_BYTE = 0x09
const DEVCTL_FLR_BIT = 0x80
const PCI_EXP_DEVCTL2 = 0x28
/** Link, slot and root registers of version 1, and those of version 2. */
const LINK_START = 0x0c
const LINK_END = 0x24
const LINK2_START = 0x2c
const LINK2_END = 0x3c

export interface ExpressOptions {
  /** Whether the function is on the root bus. */
  readonly isIntegrated: boolean
  readonly canReset: boolean
  /** The guest asks for a function level reset. */
  readonly onReset: () => void
}

/** Shows the capability, and returns the offsets of its registers that a guest changes, 16 bits wide. */
export function passExpress(
  config: PassedConfig,
  { at, room }: FoundCapability,
  snapshot: DataView,
  { isIntegrated, canReset, onReset }: ExpressOptions,
): readonly number[] {
  const flags = snapshot.getUint16(at + PCI_EXP_FLAGS, true)
  const isV2 = (flags & PCI_EXP_FLAGS_VERS) >= 2 && room >= LINK2_END
  const wasIntegrated = (flags & PCI_EXP_FLAGS_TYPE) >>> TYPE_SHIFT === PCI_EXP_TYPE_RC_END
  const gainsLink = wasIntegrated && !isIntegrated && isV2
  if (isIntegrated || gainsLink) {
    const type = isIntegrated ? PCI_EXP_TYPE_RC_END : PCI_EXP_TYPE_ENDPOINT
    const kept = flags & ~(PCI_EXP_FLAGS_TYPE | PCI_EXP_FLAGS_SLOT)
    config.define(at + PCI_EXP_FLAGS, 2, kept | (type << TYPE_SHIFT))
    const link = endpointExpress(isIntegrated, onReset)
    const define = (start: number, end: number) => {
      for (let i = start; i < end; i++) config.define(at + i, 1, link.bytes[i] ?? 0, link.writable?.[i] ?? 0)
    }
    define(LINK_START, Math.min(LINK_END, room))
    if (isV2) define(LINK2_START, LINK2_END)
  }
  config.claim(at + DEVCAP_FLR_BYTE, 1, DEVCAP_FLR_BIT)
  config.own.define(at + DEVCAP_FLR_BYTE, 1, canReset ? DEVCAP_FLR_BIT : 0)
  trapReset(config, at + DEVCTL_FLR_BYTE, DEVCTL_FLR_BIT, canReset ? onReset : undefined)
  return isV2 ? [at + PCI_EXP_DEVCTL, at + PCI_EXP_DEVCTL2] : [at + PCI_EXP_DEVCTL]
}

/** Keeps a bit that starts a reset from the device; `onReset` is called in its stead. */
export function trapReset(config: PassedConfig, offset: number, bit: number, onReset: (() => void) | undefined): void {
  config.filter(offset, byte => byte & ~bit)
  // The offset is from the register on, and negative when the access begins before it.
  config.own.onWrite(offset, 1, (from, _size, value) => {
    if (((value >>> (-8 * from)) & bit) !== 0) onReset?.()
  })
}

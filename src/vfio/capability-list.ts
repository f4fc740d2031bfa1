/**
 * The two capability lists of a device, as it has them. The bytes come from hardware, so nothing in them is believed: a
 * list ends at a link that leads back or nowhere. PCI Local Bus 3.0 §6.7, PCI Express 5.0 §7.6.3.
 */
import {
  CONFIG_SPACE_SIZE,
  CONVENTIONAL_SIZE,
  PCI_CAPABILITY_LIST,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
} from '../pci/registers.ts'

/** A capability where it lies. */
export interface FoundCapability {
  readonly id: number
  /** Of an extended one; else 0. */
  readonly version: number
  readonly at: number
  /** Bytes up to the capability that lies behind it, or the end of its part of the space. */
  readonly room: number
}

/** The conventional list, in its order. */
export function findCapabilities(config: DataView): readonly FoundCapability[] {
  if ((config.getUint16(PCI_STATUS, true) & PCI_STATUS_CAP_LIST) === 0) return []
  const found = new Map<number, { id: number; version: number }>()
  for (let at = config.getUint8(PCI_CAPABILITY_LIST) & ~3; at >= PCI_STD_HEADER_SIZEOF && !found.has(at); ) {
    found.set(at, { id: config.getUint8(at), version: 0 })
    at = config.getUint8(at + 1) & ~3
  }
  return withRoom(found, CONVENTIONAL_SIZE)
}

/** The extended list, in its order; none where the space ends at 256 bytes. */
export function findExtendedCapabilities(config: DataView): readonly FoundCapability[] {
  const found = new Map<number, { id: number; version: number }>()
  if (config.byteLength < CONFIG_SPACE_SIZE) return []
  for (let at = CONVENTIONAL_SIZE; at >= CONVENTIONAL_SIZE && !found.has(at); ) {
    const header = config.getUint32(at, true)
    // All zeros: there is no list. All ones: nobody answers.
    if (header === 0 || header === 0xffff_ffff) break
    found.set(at, { id: header & 0xffff, version: (header >>> 16) & 0xf })
    at = (header >>> 20) & ~3
  }
  return withRoom(found, CONFIG_SPACE_SIZE)
}

function withRoom(found: ReadonlyMap<number, { id: number; version: number }>, end: number): FoundCapability[] {
  const starts = [...found.keys()]
  return Array.from(found, ([at, { id, version }]) => {
    const behind = starts.filter(start => start > at)
    return { id, version, at, room: Math.min(end, ...behind) - at }
  })
}

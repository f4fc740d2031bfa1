/** What a PCI device is, in words, by its class code (PCI Code and ID Assignment 1.11 §1). */

const BASES: Readonly<Record<number, string>> = {
  0: 'unclassified',
  1: 'storage',
  2: 'network',
  3: 'display',
  4: 'multimedia',
  5: 'memory',
  6: 'bridge',
  7: 'communication',
  8: 'system device',
  9: 'input',
  10: 'docking station',
  11: 'processor',
  12: 'serial bus',
  13: 'wireless',
  14: 'intelligent I/O',
  15: 'satellite',
  16: 'encryption',
  17: 'signal processing',
  18: 'accelerator',
  19: 'instrumentation',
}

/** By base class and subclass. */
const SUBCLASSES: Readonly<Record<number, string>> = {
  256: 'SCSI storage',
  257: 'IDE storage',
  260: 'RAID storage',
  262: 'SATA storage',
  263: 'SAS storage',
  264: 'NVMe storage',
  512: 'Ethernet',
  519: 'InfiniBand',
  768: 'VGA display',
  770: '3D display',
  1025: 'audio',
  1027: 'HD audio',
  1536: 'host bridge',
  1537: 'ISA bridge',
  1540: 'PCI bridge',
  1792: 'serial port',
  1920: 'communication',
  2053: 'SD host',
  2054: 'IOMMU',
  3075: 'USB',
  3077: 'SMBus',
  3345: 'Bluetooth',
  3456: 'wireless',
}

/** A few words for a 24-bit class code. */
export function pciClassName(code: number): string {
  return SUBCLASSES[code >>> 8] ?? BASES[code >>> 16] ?? 'other'
}

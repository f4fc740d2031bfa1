/**
 * The x86-64 machine's physical address map, drawn once.
 *
 *   0000_0000_0000  conventional memory (boot data: see boot/low-memory.ts)
 *   0000_0009_fc00  reserved: where a PC has its EBDA, video memory and ROMs; ACPI tables at 000e_0000
 *   0000_0010_0000  RAM, at most up to 3 GiB
 *   0000_c000_0000  PCI hole: device memory
 *   0000_c000_0000    BARs, up to 0000_e000_0000
 *   0000_e000_0000    ECAM: PCI configuration space of 256 buses, up to 0000_f000_0000
 *   0000_fec0_0000    IOAPIC (KVM)
 *   0000_fee0_0000    local APICs and MSI doorbell (KVM)
 *   0000_fffb_c000    KVM's identity page table and TSS (Intel hosts)
 *   0001_0000_0000  the rest of RAM
 *   0040_0000_0000  64-bit BARs, up to 0080_0000_0000: within 39 address bits, which is all that some processors and
 *                   IOMMUs have
 */
import type { MemoryRange } from '../../boot/memory-map.ts'
import type { RamRange } from '../../memory/ram.ts'

const KIB = 2 ** 10
const GIB = 2 ** 30

export const EBDA_START = 0x9_fc00
export const ACPI_TABLES_START = 0xe_0000
const HIGH_MEMORY_START = 0x10_0000

export const PCI_HOLE_START = 3 * GIB
export const PCI_HOLE_END = 4 * GIB

/** Where BARs can be: firmware/dsdt.asl tells the guest the same. */
export const PCI_WINDOW_32 = { start: PCI_HOLE_START, size: GIB / 2 } as const
export const PCI_WINDOW_64 = { start: 256 * GIB, size: 256 * GIB } as const

/** Configuration space of every bus there can be, right behind the 32-bit window. MCFG and DSDT say so. */
export const ECAM_START = PCI_WINDOW_32.start + PCI_WINDOW_32.size
export const ECAM_BUSES = 256
const ECAM_SIZE = ECAM_BUSES * 2 ** 20

/** The most RAM: what is above 4 GiB ends where the 64-bit window starts. */
export const MAX_RAM = PCI_WINDOW_64.start - (PCI_HOLE_END - PCI_HOLE_START)

export const IOAPIC_ADDRESS = 0xfec0_0000
export const LAPIC_ADDRESS = 0xfee0_0000

/** Where writes are message-signalled interrupts (Intel SDM 3A, "Message Signalled Interrupts"); `end` is inclusive. */
export const MSI_DOORBELLS = [{ start: LAPIC_ADDRESS, end: LAPIC_ADDRESS + 0xf_ffff }] as const

/** One page and three pages inside the hole, next to each other. */
export const KVM_IDENTITY_MAP_ADDRESS = 0xfffb_c000
export const KVM_TSS_ADDRESS = KVM_IDENTITY_MAP_ADDRESS + 4 * KIB

/** Serial ports a machine has (platform.ts). */
export const SERIAL_PORTS = 4

/** ISA interrupt lines of the devices, as the DSDT (firmware/dsdt.asl) names them. */
export const IRQ = { keyboard: 1, com2: 3, com1: 4, rtc: 8, sci: 9, com3: 10, com4: 11, aux: 12 } as const

/** The RAM ranges of a guest with `sizeBytes` of memory. */
export function ramRanges(sizeBytes: number): readonly RamRange[] {
  const low = Math.min(sizeBytes, PCI_HOLE_START)
  const ranges = [{ start: 0, size: low }]
  if (sizeBytes > low) ranges.push({ start: PCI_HOLE_END, size: sizeBytes - low })
  return ranges
}

/** The map that the guest is told (e820, PVH, multiboot). */
export function memoryMap(sizeBytes: number): readonly MemoryRange[] {
  const low = Math.min(sizeBytes, PCI_HOLE_START)
  const map: MemoryRange[] = [
    { start: 0, size: EBDA_START, type: 'ram' },
    { start: EBDA_START, size: HIGH_MEMORY_START - EBDA_START, type: 'reserved' },
    { start: HIGH_MEMORY_START, size: low - HIGH_MEMORY_START, type: 'ram' },
    // Linux uses ECAM only where the map or the DSDT reserves it.
    { start: ECAM_START, size: ECAM_SIZE, type: 'reserved' },
    { start: IOAPIC_ADDRESS, size: PCI_HOLE_END - IOAPIC_ADDRESS, type: 'reserved' },
  ]
  if (sizeBytes > low) map.push({ start: PCI_HOLE_END, size: sizeBytes - low, type: 'ram' })
  return map
}

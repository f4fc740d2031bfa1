/**
 * Where boot tables lie below 1 MiB. Guest code and data may use everything else below 0x9fc00; the area sits above
 * 512 KiB because small test kernels load low, and below 0x9d000 because the Linux decompressor borrows the two pages
 * under the top of low memory for a trampoline while our page tables are still live.
 *
 *      0x00000  +--------------------------+
 *               | free (test kernels)      |
 *      0x80000  +--------------------------+  BOOT_AREA
 *               | GDT                      |  1 page
 *      0x81000  +--------------------------+
 *               | zero page (boot_params)  |  1 page
 *      0x82000  +--------------------------+
 *               | PML4, PDPT, 4 x PD       |  6 pages
 *      0x88000  +--------------------------+
 *               | PVH start info           |  1 page
 *      0x89000  +--------------------------+
 *               | multiboot information    |  1 page
 *      0x8a000  +--------------------------+
 *               | setup data (device tree) |  2 pages
 *      0x8c000  +--------------------------+
 *               | command line             |  4 pages
 *      0x90000  +--------------------------+
 *               | free                     |
 *      0x9fc00  +--------------------------+  where the memory map ends low RAM
 *               | hole                     |
 *      0xe0000  +--------------------------+  ACPI_AREA
 *               | ACPI tables              |
 *     0x100000  +--------------------------+
 */
import type { Extent } from './memory-map.ts'

export const BOOT_AREA: Extent = { start: 0x80000, size: 0x10000 }

export const GDT_GPA = 0x80000
export const ZERO_PAGE_GPA = 0x81000
export const PAGE_TABLES_GPA = 0x82000
export const START_INFO_GPA = 0x88000
export const MULTIBOOT_INFO_GPA = 0x89000
export const SETUP_DATA_GPA = 0x8a000
export const CMDLINE_GPA = 0x8c000

/** Size of the area behind START_INFO_GPA, and of the one behind MULTIBOOT_INFO_GPA. */
export const INFO_SIZE = 0x1000
/** Size of the area behind SETUP_DATA_GPA. */
export const SETUP_DATA_SIZE = 0x2000
/** Size of the area behind CMDLINE_GPA, with the final NUL. */
export const CMDLINE_SIZE = 0x4000

/** The BIOS area that an operating system scans for the RSDP on 16-byte boundaries, ACPI 6.4 §5.2.5.1. */
export const ACPI_AREA: Extent = { start: 0xe0000, size: 0x20000 }

/** Kernels and initrds are placed from here up. */
export const ONE_MIB = 0x100000

/** struct boot_params, the "zero page": Documentation/arch/x86/zero-page.rst. */
import { assert } from '../base/errors.ts'
import { setU64 } from '../base/u64.ts'
import { CMDLINE_GPA, ZERO_PAGE_GPA } from './low-memory.ts'
import { ADDRESS_RANGE, type Extent, type MemoryRange } from './memory-map.ts'
import type { Segment } from './plan.ts'
import { BOOT_FLAG, HDR_MAGIC, Hdr, LOADED_HIGH, SETUP_HEADER } from './setup-header.ts'

const SIZE = 0x1000
const ACPI_RSDP_ADDR = 0x070
const E820_ENTRIES = 0x1e8
const E820_TABLE = 0x2d0
const E820_ENTRY_SIZE = 20
/** E820_MAX_ENTRIES_ZEROPAGE */
export const E820_MAX_ENTRIES = 128
/** The zero page keeps room for the setup header up to here. */
const SETUP_HEADER_END = 0x290
/** A boot loader without an assigned number. */
const LOADER_UNDEFINED = 0xff
/** For a kernel that brings no header (an ELF file): a protocol whose every later field may be zero. */
const PROTOCOL_2_12 = 0x020c
const ELF_ALIGNMENT = 0x20_0000

export interface ZeroPageInputs {
  /** The setup header's bytes from the kernel file, from SETUP_HEADER on; left out for an ELF kernel. */
  readonly setupHeader?: Uint8Array | undefined
  readonly initrd: Extent | undefined
  readonly memoryMap: readonly MemoryRange[]
  readonly rsdp: number
  /** gpa of the first struct setup_data, 0 if there is none. */
  readonly setupData: number
}

/** Builds the page; the command line is taken to lie at CMDLINE_GPA. */
export function zeroPageSegment(inputs: ZeroPageInputs): Segment {
  const { setupHeader, initrd, memoryMap, rsdp, setupData } = inputs
  assert(memoryMap.length <= E820_MAX_ENTRIES, `a memory map has at most ${E820_MAX_ENTRIES} ranges`)
  const bytes = new Uint8Array(SIZE)
  const view = new DataView(bytes.buffer)

  if (setupHeader === undefined) {
    view.setUint16(Hdr.bootFlag, BOOT_FLAG, true)
    view.setUint32(Hdr.header, HDR_MAGIC, true)
    view.setUint16(Hdr.version, PROTOCOL_2_12, true)
    view.setUint8(Hdr.loadflags, LOADED_HIGH)
    view.setUint32(Hdr.kernelAlignment, ELF_ALIGNMENT, true)
  } else {
    // Only the header may be copied: a page with the file's other bytes makes the kernel distrust it (the sentinel).
    bytes.set(setupHeader.subarray(0, SETUP_HEADER_END - SETUP_HEADER), SETUP_HEADER)
  }
  view.setUint8(Hdr.typeOfLoader, LOADER_UNDEFINED)
  view.setUint32(Hdr.cmdLinePtr, CMDLINE_GPA, true)
  view.setUint32(Hdr.ramdiskImage, initrd?.start ?? 0, true)
  view.setUint32(Hdr.ramdiskSize, initrd?.size ?? 0, true)
  setU64(view, ACPI_RSDP_ADDR, rsdp)
  setU64(view, Hdr.setupData, setupData)

  view.setUint8(E820_ENTRIES, memoryMap.length)
  memoryMap.forEach((range, i) => {
    const at = E820_TABLE + i * E820_ENTRY_SIZE
    setU64(view, at, range.start)
    setU64(view, at + 8, range.size)
    view.setUint32(at + 16, ADDRESS_RANGE[range.type], true)
  })
  return { gpa: ZERO_PAGE_GPA, bytes }
}

/** The descriptor and page tables that the first vCPU starts on. Intel SDM vol. 3 §3.4.5 and §4.5. */
import { setU64 } from '../base/u64.ts'
import { GDT_GPA, PAGE_TABLES_GPA } from './low-memory.ts'
import type { Segment } from './plan.ts'

/** Code selector: the Linux boot protocol's __BOOT_CS. */
export const BOOT_CS = 0x10
/** Data selector: the Linux boot protocol's __BOOT_DS. */
export const BOOT_DS = 0x18
/** Selector of a busy 32-bit TSS at 0, for a task register that passes the VM entry checks. */
export const BOOT_TSS = 0x20
/** Bytes in the GDT: the TSS takes two slots in long mode. */
export const GDT_SIZE = 0x30

/** Flat 4 GiB segments with the accessed bit set, so that the CPU has no reason to write the GDT. */
export const DESCRIPTORS = {
  code64: 0x00af_9b00_0000_ffffn,
  code32: 0x00cf_9b00_0000_ffffn,
  data: 0x00cf_9300_0000_ffffn,
  tss: 0x0000_8b00_0000_0067n,
} as const

const PAGE = 0x1000
const ENTRIES = 512
const LARGE_PAGE = 0x20_0000
const DIRECTORIES = 4
/** Present, writable, accessed. */
const TABLE = 0x23
/** Present, writable, accessed, dirty, large. */
const LEAF = 0xe3

/** The GDT with a code segment for `mode`. */
export function gdtSegment(mode: 'long' | 'protected'): Segment {
  const bytes = new Uint8Array(GDT_SIZE)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(BOOT_CS, mode === 'long' ? DESCRIPTORS.code64 : DESCRIPTORS.code32, true)
  view.setBigUint64(BOOT_DS, DESCRIPTORS.data, true)
  view.setBigUint64(BOOT_TSS, DESCRIPTORS.tss, true)
  return { gpa: GDT_GPA, bytes }
}

/** Identity map of the first 4 GiB in 2 MiB pages: 1 GiB pages would be shorter, but not every CPU has them. */
export function pageTablesSegment(): Segment {
  const bytes = new Uint8Array((2 + DIRECTORIES) * PAGE)
  const view = new DataView(bytes.buffer)
  const pdpt = PAGE_TABLES_GPA + PAGE
  setU64(view, 0, pdpt + TABLE)
  for (let directory = 0; directory < DIRECTORIES; directory++)
    setU64(view, PAGE + directory * 8, pdpt + (directory + 1) * PAGE + TABLE)
  for (let page = 0; page < DIRECTORIES * ENTRIES; page++) setU64(view, 2 * PAGE + page * 8, page * LARGE_PAGE + LEAF)
  return { gpa: PAGE_TABLES_GPA, bytes }
}

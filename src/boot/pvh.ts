/** Starts an ELF kernel through PVH: Xen docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h. */
import { assert, BadInput } from '../base/errors.ts'
import { layout } from '../base/struct.ts'
import { setU64 } from '../base/u64.ts'
import { gdtSegment } from './cpu-tables.ts'
import type { ElfKernel } from './elf.ts'
import { CMDLINE_GPA, GDT_GPA, INFO_SIZE, START_INFO_GPA } from './low-memory.ts'
import { ADDRESS_RANGE, type Extent, FOUR_GIB, type MemoryRange } from './memory-map.ts'
import {
  type BootInputs,
  type BootPlan,
  cmdlineSegment,
  hex,
  placeInitrd,
  requireKernelRoom,
  type Segment,
} from './plan.ts'
import { E820_MAX_ENTRIES } from './zero-page.ts'

const XEN_HVM_START_MAGIC_VALUE = 0x336e_c578

const StartInfo = layout('hvm_start_info', 56, {
  magic: 'u32',
  version: 'u32',
  flags: 'u32',
  nrModules: 'u32',
  modlistPaddr: 'u64',
  cmdlinePaddr: 'u64',
  rsdpPaddr: 'u64',
  memmapPaddr: 'u64',
  memmapEntries: 'u32',
  reserved: 'u32',
})

const ModlistEntry = layout('hvm_modlist_entry', 32, {
  paddr: 'u64',
  size: 'u64',
  cmdlinePaddr: 'u64',
  reserved: 'u64',
})

const MemmapEntry = layout('hvm_memmap_table_entry', 24, { addr: 'u64', size: 'u64', type: 'u32', reserved: 'u32' })

/** Linux copies this many bytes of the command line (COMMAND_LINE_SIZE) and wants a NUL among them. */
export const LINUX_CMDLINE_LIMIT = 2047

/** Plans the PVH start of a kernel that has the note. */
export function planPvh(inputs: BootInputs, kernel: ElfKernel): BootPlan {
  const { imageName, memoryMap, rsdp } = inputs
  const { pvhEntry, segments } = kernel
  if (pvhEntry === undefined)
    throw new BadInput(`${imageName} has no PVH entry note: build it with CONFIG_PVH or use another boot protocol`)
  if (!segments.some(segment => pvhEntry >= segment.start && pvhEntry < segment.start + segment.size))
    throw new BadInput(`${imageName} is damaged: its PVH entry ${hex(pvhEntry)} is in none of its segments`)
  requireKernelRoom(inputs, segments)
  const cmdline = cmdlineSegment(inputs, LINUX_CMDLINE_LIMIT)
  const initrd = placeInitrd(inputs, segments, FOUR_GIB)
  return {
    format: 'elf',
    protocol: 'pvh',
    segments: [
      gdtSegment('protected'),
      startInfoSegment({ initrd, memoryMap, rsdp }),
      cmdline,
      ...segments.map(({ start, bytes }) => ({ gpa: start, bytes })).filter(({ bytes }) => bytes.length > 0),
      ...(initrd?.segments ?? []),
    ],
    entry: { mode: 'protected', eip: pvhEntry, eax: 0, ebx: START_INFO_GPA, gdt: GDT_GPA },
  }
}

interface StartInfoInputs {
  readonly initrd: Extent | undefined
  readonly memoryMap: readonly MemoryRange[]
  readonly rsdp: number
}

/** hvm_start_info version 1, then the module list, then the memory map. */
export function startInfoSegment({ initrd, memoryMap, rsdp }: StartInfoInputs): Segment {
  assert(memoryMap.length <= E820_MAX_ENTRIES, `a memory map has at most ${E820_MAX_ENTRIES} ranges`)
  const modules = StartInfo.size
  const memmap = modules + ModlistEntry.size
  const bytes = new Uint8Array(memmap + memoryMap.length * MemmapEntry.size)
  assert(bytes.length <= INFO_SIZE, 'the PVH start info fits its page')
  const view = new DataView(bytes.buffer)
  const info = StartInfo.offset
  view.setUint32(info.magic, XEN_HVM_START_MAGIC_VALUE, true)
  view.setUint32(info.version, 1, true)
  setU64(view, info.cmdlinePaddr, CMDLINE_GPA)
  setU64(view, info.rsdpPaddr, rsdp)
  setU64(view, info.memmapPaddr, START_INFO_GPA + memmap)
  view.setUint32(info.memmapEntries, memoryMap.length, true)

  if (initrd !== undefined) {
    view.setUint32(info.nrModules, 1, true)
    setU64(view, info.modlistPaddr, START_INFO_GPA + modules)
    setU64(view, modules + ModlistEntry.offset.paddr, initrd.start)
    setU64(view, modules + ModlistEntry.offset.size, initrd.size)
  }
  memoryMap.forEach((range, i) => {
    const at = memmap + i * MemmapEntry.size
    setU64(view, at + MemmapEntry.offset.addr, range.start)
    setU64(view, at + MemmapEntry.offset.size, range.size)
    view.setUint32(at + MemmapEntry.offset.type, ADDRESS_RANGE[range.type], true)
  })
  return { gpa: START_INFO_GPA, bytes }
}

/** Starts an uncompressed 64-bit Linux (vmlinux) at startup_64, the way the bzImage's decompressor does. */
import { BadInput } from '../base/errors.ts'
import { gdtSegment, pageTablesSegment } from './cpu-tables.ts'
import type { ElfKernel } from './elf.ts'
import { GDT_GPA, PAGE_TABLES_GPA, ZERO_PAGE_GPA } from './low-memory.ts'
import { FOUR_GIB } from './memory-map.ts'
import { type BootInputs, type BootPlan, cmdlineSegment, placeInitrd, requireKernelRoom } from './plan.ts'
import { LINUX_CMDLINE_LIMIT } from './pvh.ts'
import { setupDataOf } from './setup-data.ts'
import { zeroPageSegment } from './zero-page.ts'

/** Plans the 64-bit start of an ELF kernel. */
export function planLinux64(inputs: BootInputs, kernel: ElfKernel): BootPlan {
  const { imageName, memoryMap, rsdp } = inputs
  const { segments } = kernel
  if (kernel.bits !== 64)
    throw new BadInput(
      `${imageName} is a 32-bit ELF file without a multiboot header or PVH note; a 64-bit Linux kernel is needed`,
    )
  requireKernelRoom(inputs, segments)
  const cmdline = cmdlineSegment(inputs, LINUX_CMDLINE_LIMIT)
  const initrd = placeInitrd(inputs, segments, FOUR_GIB)
  const setupData = setupDataOf(inputs)
  return {
    format: 'elf',
    protocol: 'linux64',
    segments: [
      gdtSegment('long'),
      zeroPageSegment({ initrd, memoryMap, rsdp, setupData: setupData.gpa }),
      pageTablesSegment(),
      ...setupData.segments,
      cmdline,
      ...segments.map(({ start, bytes }) => ({ gpa: start, bytes })).filter(({ bytes }) => bytes.length > 0),
      ...(initrd?.segments ?? []),
    ],
    entry: {
      mode: 'long',
      rip: kernel.entry,
      rsi: ZERO_PAGE_GPA,
      pageTables: PAGE_TABLES_GPA,
      gdt: GDT_GPA,
    },
  }
}

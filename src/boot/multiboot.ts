/**
 * Starts multiboot 1 kernels, ELF or flat: Multiboot Specification 0.6.96. A 64-bit ELF file is entered in 32-bit
 * protected mode like any other. There is no video mode to give: a kernel that asks for one starts without.
 */
import { BadInput } from '../base/errors.ts'
import { layout } from '../base/struct.ts'
import { setU64 } from '../base/u64.ts'
import { gdtSegment } from './cpu-tables.ts'
import { type ElfSegment, isElf, readElf } from './elf.ts'
import { CMDLINE_GPA, CMDLINE_SIZE, GDT_GPA, INFO_SIZE, MULTIBOOT_INFO_GPA, ONE_MIB } from './low-memory.ts'
import { ADDRESS_RANGE, type Extent, endOf, type MemoryRange } from './memory-map.ts'
import {
  type BootInputs,
  type BootPlan,
  cmdlineSegment,
  hex,
  placeModules,
  requireKernelRoom,
  type Segment,
} from './plan.ts'
import { viewOf } from './setup-header.ts'

const HEADER_MAGIC = 0x1bad_b002
const LOADER_MAGIC = 0x2bad_b002
/** §3.1: the header is contained in the first 8192 bytes, longword aligned. */
const SEARCH_SIZE = 8192
const LOADER_NAME = 'bulkhead\0'

/** Header flags, §3.1.2. Bits 0 to 15 are requirements: one that is not known refuses the image. */
const Flag = { pageAlign: 1 << 0, memoryInfo: 1 << 1, videoMode: 1 << 2, addresses: 1 << 16 } as const
const KNOWN_REQUIREMENTS = Flag.pageAlign | Flag.memoryInfo | Flag.videoMode
const REQUIREMENTS = 0xffff

/** Header fields, §3.1.1. */
const Header = layout('multiboot_header', 32, {
  magic: 'u32',
  flags: 'u32',
  checksum: 'u32',
  headerAddr: 'u32',
  loadAddr: 'u32',
  loadEndAddr: 'u32',
  bssEndAddr: 'u32',
  entryAddr: 'u32',
})
const SHORT_HEADER_SIZE = Header.offset.headerAddr

/** Boot information, §3.3, as far as it is filled in. */
const Info = layout('multiboot_info', 68, {
  flags: 'u32',
  memLower: 'u32',
  memUpper: 'u32',
  bootDevice: 'u32',
  cmdline: 'u32',
  modsCount: 'u32',
  modsAddr: 'u32',
  syms: 16,
  mmapLength: 'u32',
  mmapAddr: 'u32',
  drivesLength: 'u32',
  drivesAddr: 'u32',
  configTable: 'u32',
  bootLoaderName: 'u32',
})
/** Kernels copy the whole structure of the specification, framebuffer fields included. */
const INFO_RESERVED = 128
const InfoFlag = { memory: 1 << 0, cmdline: 1 << 2, mods: 1 << 3, mmap: 1 << 6, bootLoaderName: 1 << 9 } as const
const MODULE_SIZE = 16
const MMAP_ENTRY_SIZE = 24

interface Loaded {
  readonly entry: number
  readonly segments: readonly ElfSegment[]
}

/** File offset of the multiboot header, or undefined if there is none. */
export function findMultibootHeader(image: Uint8Array): number | undefined {
  const view = viewOf(image)
  const last = Math.min(image.length, SEARCH_SIZE) - SHORT_HEADER_SIZE
  for (let at = 0; at <= last; at += 4) {
    if (view.getUint32(at, true) !== HEADER_MAGIC) continue
    const flags = view.getUint32(at + Header.offset.flags, true)
    const checksum = view.getUint32(at + Header.offset.checksum, true)
    if ((HEADER_MAGIC + flags + checksum) >>> 0 === 0) return at
  }
  return undefined
}

/** Plans the start of an image whose multiboot header lies at `headerAt`. */
export function planMultiboot(inputs: BootInputs, headerAt: number): BootPlan {
  const { image, imageName } = inputs
  const flags = viewOf(image).getUint32(headerAt + Header.offset.flags, true)
  const unknown = flags & REQUIREMENTS & ~KNOWN_REQUIREMENTS
  if (unknown !== 0)
    throw new BadInput(`${imageName} requires multiboot features that do not exist: flags ${hex(unknown)}`)
  const byAddresses = (flags & Flag.addresses) !== 0
  const { entry, segments } = byAddresses ? loadByAddresses(inputs, headerAt) : loadElf(inputs)
  requireKernelRoom(inputs, segments)
  const cmdline = cmdlineSegment(withProgramName(inputs), CMDLINE_SIZE - 1)
  const modules = placeModules(inputs, segments)
  return {
    format: isElf(image) ? 'elf' : 'multiboot',
    protocol: 'multiboot',
    segments: [
      gdtSegment('protected'),
      infoSegment(inputs, modules),
      cmdline,
      ...segments.map(({ start, bytes }) => ({ gpa: start, bytes })).filter(({ bytes }) => bytes.length > 0),
      ...modules.flatMap(module => module.segments),
    ],
    entry: { mode: 'protected', eip: entry, eax: LOADER_MAGIC, ebx: MULTIBOOT_INFO_GPA, gdt: GDT_GPA },
  }
}

function loadElf({ image, imageName }: BootInputs): Loaded {
  if (!isElf(image)) throw new BadInput(`${imageName} has a multiboot header without load addresses and is no ELF file`)
  return readElf(image, imageName)
}

/** §3.1.3: the header says where the file's bytes go, and an ELF header in the same file does not count. */
function loadByAddresses({ image, imageName }: BootInputs, headerAt: number): Loaded {
  if (headerAt + Header.size > image.length)
    throw new BadInput(`${imageName} is truncated: the file ends inside its multiboot header`)
  const view = viewOf(image)
  const field = (name: keyof typeof Header.offset) => view.getUint32(headerAt + Header.offset[name], true)
  const start = field('loadAddr')
  const offset = headerAt - (field('headerAddr') - start)
  // Zero ends: the rest of the file is loaded, and there is no bss.
  const loadEnd = field('loadEndAddr') || start + image.length - offset
  const end = field('bssEndAddr') || loadEnd
  const entry = field('entryAddr')
  if (offset < 0 || offset > headerAt || loadEnd <= start || end < loadEnd || entry < start || entry >= end)
    throw new BadInput(`${imageName} is damaged: the addresses in its multiboot header contradict each other`)
  if (offset + loadEnd - start > image.length)
    throw new BadInput(
      `${imageName} is truncated: its multiboot header wants ${offset + loadEnd - start} bytes and the file has ` +
        `${image.length}`,
    )
  const bytes = image.subarray(offset, offset + loadEnd - start)
  return { entry, segments: [{ start, size: end - start, bytes }] }
}

/** The first word of a multiboot command line is the kernel's own name, as boot loaders do it. */
function withProgramName(inputs: BootInputs): BootInputs {
  const name = inputs.imageName.slice(inputs.imageName.lastIndexOf('/') + 1)
  return { ...inputs, cmdline: inputs.cmdline === '' ? name : `${name} ${inputs.cmdline}` }
}

/** The information structure, then module list, memory map and the loader's name. */
function infoSegment({ imageName, memoryMap }: BootInputs, modules: readonly Extent[]): Segment {
  const mods = INFO_RESERVED
  const mmap = mods + modules.length * MODULE_SIZE
  const loaderName = mmap + memoryMap.length * MMAP_ENTRY_SIZE
  const size = loaderName + LOADER_NAME.length
  if (size > INFO_SIZE)
    throw new BadInput(`${imageName} cannot be given ${modules.length} modules: join the initrd files into fewer`)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  const u32 = (at: number, value: number) => view.setUint32(at, value, true)
  const info = Info.offset
  u32(info.flags, InfoFlag.memory | InfoFlag.cmdline | InfoFlag.mods | InfoFlag.mmap | InfoFlag.bootLoaderName)
  u32(info.memLower, ramFrom(memoryMap, 0) / 1024)
  u32(info.memUpper, ramFrom(memoryMap, ONE_MIB) / 1024)
  u32(info.cmdline, CMDLINE_GPA)
  u32(info.modsCount, modules.length)
  u32(info.modsAddr, MULTIBOOT_INFO_GPA + mods)
  u32(info.mmapLength, memoryMap.length * MMAP_ENTRY_SIZE)
  u32(info.mmapAddr, MULTIBOOT_INFO_GPA + mmap)
  u32(info.bootLoaderName, MULTIBOOT_INFO_GPA + loaderName)

  modules.forEach((module, i) => {
    const at = mods + i * MODULE_SIZE
    u32(at, module.start)
    u32(at + 4, endOf(module))
    // An empty string: the NUL that ends the loader's name.
    u32(at + 8, MULTIBOOT_INFO_GPA + size - 1)
  })
  memoryMap.forEach((range, i) => {
    const at = mmap + i * MMAP_ENTRY_SIZE
    // The size of an entry does not count the size field itself.
    u32(at, MMAP_ENTRY_SIZE - 4)
    setU64(view, at + 4, range.start)
    setU64(view, at + 12, range.size)
    u32(at + 20, ADDRESS_RANGE[range.type])
  })
  bytes.set(new TextEncoder().encode(LOADER_NAME), loaderName)
  return { gpa: MULTIBOOT_INFO_GPA, bytes }
}

/** Bytes of RAM from `start` to the first hole. */
function ramFrom(map: readonly MemoryRange[], start: number): number {
  const range = map.find(each => each.type === 'ram' && each.start <= start && start < endOf(each))
  return range === undefined ? 0 : endOf(range) - start
}

/** A boot plan: what goes where in fresh guest memory and how the first vCPU starts. Shared by the kernel formats. */
import { BadInput } from '../base/errors.ts'
import { BOOT_AREA, CMDLINE_GPA, CMDLINE_SIZE, ONE_MIB } from './low-memory.ts'
import {
  type Extent,
  endOf,
  FOUR_GIB,
  findHighRoom,
  findLowRoom,
  isRam,
  type MemoryRange,
  overlaps,
  ramBytes,
} from './memory-map.ts'

/** The container: a `multiboot` image is one without an ELF header, placed by the addresses in its multiboot header. */
export type KernelFormat = 'bzImage' | 'elf' | 'multiboot'
/** How the kernel is entered. */
export type BootProtocol = 'linux64' | 'pvh' | 'multiboot'

/** Bytes that go to guest memory at `gpa`. The rest of fresh guest memory is zero. */
export interface Segment {
  readonly gpa: number
  readonly bytes: Uint8Array
}

/** The state of the first vCPU; `gdt` holds the descriptors of `cpu-tables.ts`. */
export type Entry =
  | {
      readonly mode: 'long'
      readonly rip: number
      readonly rsi: number
      /** gpa of the PML4. */
      readonly pageTables: number
      readonly gdt: number
    }
  | {
      readonly mode: 'protected'
      readonly eip: number
      readonly eax: number
      readonly ebx: number
      readonly gdt: number
    }

export interface BootPlan {
  readonly format: KernelFormat
  readonly protocol: BootProtocol
  readonly segments: readonly Segment[]
  readonly entry: Entry
}

export interface BootInputs {
  readonly image: Uint8Array
  /** For messages. */
  readonly imageName: string
  /** Left out: chosen from the image, see `planBoot`. */
  readonly protocol?: BootProtocol
  readonly cmdline: string
  /** Joined to one initrd, each part padded to 4 bytes; under multiboot each part is a module. */
  readonly initrd: readonly Uint8Array[]
  /** For messages. */
  readonly initrdName?: string
  readonly memoryMap: readonly MemoryRange[]
  /** gpa of the ACPI root pointer, 0 if there is none. */
  readonly rsdp: number
  /** A flattened device tree for the kernel; only the linux64 protocol has a place for one. */
  readonly deviceTree?: Uint8Array
}

/** An initrd or module in guest memory. */
export interface PlacedInitrd extends Extent {
  readonly segments: readonly Segment[]
}

/** Throws unless the boot tables and `kernel` find free RAM below 4 GiB. */
export function requireKernelRoom(inputs: BootInputs, kernel: readonly Extent[]): void {
  for (const extent of kernel) {
    if (overlaps(extent, BOOT_AREA))
      throw new BadInput(
        `${inputs.imageName} loads at ${hex(extent.start)}-${hex(endOf(extent))}, over the boot tables at ` +
          `${hex(BOOT_AREA.start)}-${hex(endOf(BOOT_AREA))}: link it to another address`,
      )
    if (!isRam(inputs.memoryMap, extent) || endOf(extent) > FOUR_GIB) throw kernelTooBig(inputs, extent)
  }
}

/** The error for a kernel that needs memory which the guest does not have. */
export function kernelTooBig(inputs: BootInputs, extent: Extent): BadInput {
  return new BadInput(
    `${inputs.imageName} needs guest memory at ${hex(extent.start)}-${hex(endOf(extent))}, ` +
      `which is not RAM in a guest of ${mib(ramBytes(inputs.memoryMap))} MiB: raise -m or use another kernel`,
  )
}

/** The command line with its final NUL; `limit` is the most that the kernel takes, without the NUL. */
export function cmdlineSegment(inputs: BootInputs, limit: number): Segment {
  const bytes = new TextEncoder().encode(`${inputs.cmdline}\0`)
  const most = Math.min(limit, CMDLINE_SIZE - 1)
  if (bytes.indexOf(0) !== bytes.length - 1) throw new BadInput('the kernel command line contains a NUL byte')
  if (bytes.length - 1 > most)
    throw new BadInput(
      `the kernel command line is ${bytes.length - 1} bytes long, but ${inputs.imageName} takes at most ${most}`,
    )
  return { gpa: CMDLINE_GPA, bytes }
}

/** Places the joined initrd as high as possible below `limit`, at a page boundary. */
export function placeInitrd(inputs: BootInputs, kernel: readonly Extent[], limit: number): PlacedInitrd | undefined {
  const offsets: number[] = []
  let size = 0
  for (const part of inputs.initrd) {
    offsets.push(size)
    size += Math.ceil(part.length / 4) * 4
  }
  if (size === 0) return undefined
  const start = findHighRoom(inputs.memoryMap, {
    size,
    alignment: 0x1000,
    floor: ONE_MIB,
    limit: Math.min(limit, FOUR_GIB),
    taken: kernel,
  })
  if (start === undefined) throw initrdTooBig(inputs, size)
  const segments = inputs.initrd.map((bytes, i) => ({ gpa: start + offsets[i]!, bytes }))
  return { start, size, segments: segments.filter(segment => segment.bytes.length > 0) }
}

/** Places each initrd part as a page-aligned module right behind the kernel: multiboot kernels often map little. */
export function placeModules(inputs: BootInputs, kernel: readonly Extent[]): readonly PlacedInitrd[] {
  const taken = [...kernel]
  return inputs.initrd.map(bytes => {
    const size = bytes.length
    const floor = taken.reduce((most, extent) => Math.max(most, endOf(extent)), ONE_MIB)
    const start = findLowRoom(inputs.memoryMap, { size, alignment: 0x1000, floor, limit: FOUR_GIB, taken })
    if (start === undefined) throw initrdTooBig(inputs, size)
    taken.push({ start, size })
    return { start, size, segments: size > 0 ? [{ gpa: start, bytes }] : [] }
  })
}

function initrdTooBig(inputs: BootInputs, size: number): BadInput {
  return new BadInput(
    `${inputs.initrdName ?? 'the initrd'} needs ${mib(size)} MiB beside the kernel and the guest has ` +
      `${mib(ramBytes(inputs.memoryMap))} MiB: raise -m`,
  )
}

/** `value` in hexadecimal. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`
}

/** Bytes as MiB, rounded up. */
export function mib(bytes: number): number {
  return Math.ceil(bytes / 0x100000)
}

/** Small kernel images made from nothing, for the boot tests: bzImage, ELF (32 and 64 bit), multiboot. */
import type { MemoryRange } from '../../src/boot/memory-map.ts'

const MIB = 0x100000

/** The memory map of a guest with `mib` MiB below the PCI hole: low RAM, BIOS area, the rest. */
export function memoryMapOf(mib: number): readonly MemoryRange[] {
  return [
    { start: 0, size: 0x9fc00, type: 'ram' },
    { start: 0xe0000, size: 0x20000, type: 'acpi' },
    { start: MIB, size: (mib - 1) * MIB, type: 'ram' },
  ]
}

export interface BzImageOptions {
  readonly setupSects?: number
  readonly version?: number
  readonly xloadflags?: number
  readonly headerEnd?: number
  readonly initrdAddrMax?: number
  readonly kernelAlignment?: number
  readonly relocatable?: boolean
  readonly cmdlineSize?: number
  readonly prefAddress?: number
  readonly initSize?: number
  /** The protected-mode part; padded to 16 bytes. */
  readonly system?: Uint8Array
  /** Compressed kernel, put at the end of the protected-mode part. */
  readonly payload?: Uint8Array
}

/** A bzImage whose setup sectors hold 0xee outside the header, so that a copy of too much shows. */
export function bzImage(options: BzImageOptions = {}): Uint8Array {
  const system = options.system ?? new Uint8Array(0x1000).fill(0x90)
  const payload = options.payload ?? new Uint8Array(0)
  const setupSects = options.setupSects ?? 1
  const setupSize = ((setupSects || 4) + 1) * 512
  const systemSize = Math.ceil((system.length + payload.length) / 16) * 16
  const image = new Uint8Array(setupSize + systemSize)
  const view = new DataView(image.buffer)
  image.fill(0xee, 0, setupSize)
  image.fill(0, 0x1f1, options.headerEnd ?? 0x26c)
  image[0x1f1] = setupSects
  view.setUint32(0x1f4, systemSize / 16, true)
  view.setUint16(0x1fe, 0xaa55, true)
  image[0x200] = 0xeb
  image[0x201] = (options.headerEnd ?? 0x26c) - 0x202
  view.setUint32(0x202, 0x53726448, true)
  view.setUint16(0x206, options.version ?? 0x020f, true)
  image[0x211] = 1
  view.setUint32(0x22c, options.initrdAddrMax ?? 0x7fffffff, true)
  view.setUint32(0x230, options.kernelAlignment ?? 0x200000, true)
  image[0x234] = (options.relocatable ?? true) ? 1 : 0
  view.setUint16(0x236, options.xloadflags ?? 1, true)
  view.setUint32(0x238, options.cmdlineSize ?? 2047, true)
  view.setUint32(0x248, system.length, true)
  view.setUint32(0x24c, payload.length, true)
  view.setBigUint64(0x258, BigInt(options.prefAddress ?? 16 * MIB), true)
  view.setUint32(0x260, options.initSize ?? 8 * MIB, true)
  image.set(system, setupSize)
  image.set(payload, setupSize + system.length)
  return image
}

export interface ElfOptions {
  readonly bits?: 32 | 64
  readonly type?: number
  readonly machine?: number
  readonly entry?: bigint
  readonly segments?: readonly ElfSegmentOptions[]
  /** Contents of a PT_NOTE segment. */
  readonly notes?: Uint8Array
  /** Type of one more, empty program header. */
  readonly extraType?: number
}

export interface ElfSegmentOptions {
  readonly paddr: number
  readonly vaddr?: bigint
  readonly memsz?: number
  readonly bytes: Uint8Array
}

const PT_LOAD = 1
const PT_NOTE = 4

/** An ELF executable without section headers; file contents start at 0x1000. */
export function elf(options: ElfOptions = {}): Uint8Array {
  const is64 = options.bits !== 32
  const segments = options.segments ?? [{ paddr: 16 * MIB, bytes: new Uint8Array(0x2000).fill(0x90) }]
  const headers = [
    ...segments.map(segment => ({ type: PT_LOAD, memsz: segment.bytes.length, ...segment })),
    ...(options.notes === undefined ? [] : [{ type: PT_NOTE, paddr: 0, memsz: 0, bytes: options.notes }]),
    ...(options.extraType === undefined
      ? []
      : [{ type: options.extraType, paddr: 0, memsz: 0, bytes: new Uint8Array(0) }]),
  ]
  const ehsize = is64 ? 64 : 52
  const phentsize = is64 ? 56 : 32
  const size = headers.reduce((sum, header) => sum + Math.ceil(header.bytes.length / 16) * 16, 0x1000)
  const image = new Uint8Array(size)
  const view = new DataView(image.buffer)
  const word = (at: number, value: bigint) =>
    is64 ? view.setBigUint64(at, value, true) : view.setUint32(at, Number(value), true)
  image.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, 1, 1])
  view.setUint16(16, options.type ?? 2, true)
  view.setUint16(18, options.machine ?? (is64 ? 62 : 3), true)
  view.setUint32(20, 1, true)
  word(24, options.entry ?? BigInt(segments[0]!.paddr))
  word(is64 ? 32 : 28, BigInt(ehsize))
  view.setUint16(is64 ? 52 : 40, ehsize, true)
  view.setUint16(is64 ? 54 : 42, phentsize, true)
  view.setUint16(is64 ? 56 : 44, headers.length, true)

  let offset = 0x1000
  headers.forEach((header, i) => {
    const at = ehsize + i * phentsize
    const width = is64 ? 8 : 4
    const first = is64 ? at + 8 : at + 4
    view.setUint32(at, header.type, true)
    word(first, BigInt(offset))
    word(first + width, 'vaddr' in header && header.vaddr !== undefined ? header.vaddr : BigInt(header.paddr))
    word(first + 2 * width, BigInt(header.paddr))
    word(first + 3 * width, BigInt(header.bytes.length))
    word(first + 4 * width, BigInt(header.memsz))
    word(is64 ? at + 48 : at + 28, 4n)
    image.set(header.bytes, offset)
    offset += Math.ceil(header.bytes.length / 16) * 16
  })
  return image
}

/** One ELF note with 4-byte padding. */
export function note(owner: string, type: number, desc: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode(`${owner}\0`)
  const descAt = 12 + Math.ceil(name.length / 4) * 4
  const bytes = new Uint8Array(descAt + Math.ceil(desc.length / 4) * 4)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, name.length, true)
  view.setUint32(4, desc.length, true)
  view.setUint32(8, type, true)
  bytes.set(name, 12)
  bytes.set(desc, descAt)
  return bytes
}

/** The note that gives a PVH entry. */
export function pvhNote(entry: number): Uint8Array {
  const desc = new Uint8Array(8)
  new DataView(desc.buffer).setUint32(0, entry, true)
  return note('Xen', 18, desc)
}

/** A multiboot header: magic, flags, checksum and, if given, the five address fields. */
export function multibootHeader(flags: number, addresses: readonly number[] = []): Uint8Array {
  const fields = [0x1badb002, flags, -(0x1badb002 + flags) >>> 0, ...addresses]
  return new Uint8Array(new Uint32Array(fields).buffer)
}

/** Joins byte runs. */
export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

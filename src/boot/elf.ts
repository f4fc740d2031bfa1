/// <reference path="./elfy.d.ts" />
/**
 * ELF kernels: loadable segments, entry and the PVH note, all checked against the file. System V gABI chapters 4, 5.
 * Section headers are not read: kernels are often stripped of them.
 */
import type elfy from 'elfy'
import { alignUp } from '../base/bits.ts'
import { BadInput } from '../base/errors.ts'
import { type Extent, overlaps } from './memory-map.ts'
import { viewOf } from './setup-header.ts'

const ELF_MAGIC = 0x464c_457f
const HEADER_SIZE = { '32': 52, '64': 64 } as const
const PROGRAM_HEADER_SIZE = { '32': 32, '64': 56 } as const
/** Linux has five, other kernels a few more. */
const MAX_PROGRAM_HEADERS = 256
/** The note that gives the physical 32-bit entry, xen/include/public/elfnote.h. */
const XEN_ELFNOTE_PHYS32_ENTRY = 18
const NOTE_HEADER_SIZE = 12
/** Found in programs that want a loader or a C library, never in kernels. */
const PROGRAM_TYPES = ['interp', 'dynamic', 'tls', 'phdr']

/** A loadable segment: `size` bytes at physical `start`, of which `bytes` come from the file. */
export interface ElfSegment extends Extent {
  readonly bytes: Uint8Array
}

export interface ElfKernel {
  readonly bits: 32 | 64
  /** Physical entry address, inside a segment. */
  readonly entry: number
  /** Physical entry address of the PVH note. */
  readonly pvhEntry: number | undefined
  readonly segments: readonly ElfSegment[]
}

/** True if `image` starts like an ELF file. */
export function isElf(image: Uint8Array): boolean {
  return image.length >= 4 && viewOf(image).getUint32(0, true) === ELF_MAGIC
}

/** Reads an ELF kernel for x86; anything else, or anything inconsistent, is a BadInput naming `name`. */
export function readElf(image: Uint8Array, name: string): ElfKernel {
  const file = Buffer.from(image.buffer, image.byteOffset, image.byteLength)
  const { header, programs } = parse(file, name)
  if (programs.some(program => PROGRAM_TYPES.includes(program.type ?? '')))
    throw new BadInput(`${name} is a program for an operating system, not a kernel`)
  const loads = programs.filter(program => program.type === 'load')
  const segments = loads.map(load => toSegment(image, load, name)).filter(segment => segment.size > 0)
  if (segments.length === 0) throw new BadInput(`${name} is an ELF file with nothing to load: it is no kernel`)
  checkApart(segments, name)
  return {
    bits: header.class === '32' ? 32 : 64,
    entry: physicalEntry(viewOf(image), header, programs, segments, name),
    pvhEntry: findPvhEntry(image, programs, name),
    segments,
  }
}

function parse(file: Buffer, name: string): { header: elfy.Header; programs: readonly elfy.Program[] } {
  try {
    // Loaded when it is needed: kernels that are no ELF files start milliseconds sooner.
    const { Parser } = require('elfy') as typeof elfy
    const parser = new Parser()
    const header = parser.parseHeader(file)
    checkHeader(header, file.length, name)
    return { header, programs: parser.parsePrograms(file, header) }
  } catch (cause) {
    if (cause instanceof BadInput) throw cause
    throw new BadInput(`${name} is truncated or damaged: its ELF headers do not parse`, { cause })
  }
}

function checkHeader(header: elfy.Header, fileSize: number, name: string): void {
  if (header.endian !== 'lsb' || (header.machine !== 'amd64' && header.machine !== '386'))
    throw new BadInput(`${name} is an ELF file for another machine; an x86 kernel is needed`)
  if (header.type !== 'exec' && header.type !== 'dyn')
    throw new BadInput(`${name} is an ELF file of another type; an executable kernel is needed`)
  const { phoff, phnum, phentsize } = header
  if (phnum === 0 || phoff < HEADER_SIZE[header.class])
    throw new BadInput(`${name} is an ELF file with nothing to load: it is no kernel`)
  if (phnum > MAX_PROGRAM_HEADERS || phentsize !== PROGRAM_HEADER_SIZE[header.class])
    throw new BadInput(`${name} is damaged: it announces ${phnum} program headers of ${phentsize} bytes`)
  if (phoff + phnum * phentsize > fileSize)
    throw new BadInput(`${name} is truncated: its program headers lie beyond its ${fileSize} bytes`)
}

function toSegment(image: Uint8Array, load: elfy.Program, name: string): ElfSegment {
  const { offset, filesz, memsz, paddr } = load
  if (filesz > memsz)
    throw new BadInput(`${name} is damaged: a segment has ${filesz} bytes in the file and ${memsz} in memory`)
  if (offset + filesz > image.length)
    throw new BadInput(
      `${name} is truncated: a segment ends at byte ${offset + filesz} and the file has ${image.length}`,
    )
  return { start: paddr, size: memsz, bytes: image.subarray(offset, offset + filesz) }
}

function checkApart(segments: readonly ElfSegment[], name: string): void {
  const sorted = [...segments].sort((a, b) => a.start - b.start)
  sorted.forEach((segment, i) => {
    const next = sorted[i + 1]
    if (next !== undefined && overlaps(segment, next))
      throw new BadInput(
        `${name} is damaged: two of its segments load at the same address 0x${next.start.toString(16)}`,
      )
  })
}

/**
 * e_entry is physical in Linux and in low kernels; higher-half kernels give a virtual one, and the segment around it
 * tells the physical. BigInt, because such addresses are beyond 2^53.
 */
function physicalEntry(
  view: DataView,
  header: elfy.Header,
  programs: readonly elfy.Program[],
  segments: readonly ElfSegment[],
  name: string,
): number {
  if (segments.some(({ start, size }) => header.entry >= start && header.entry < start + size)) return header.entry
  const is64 = header.class === '64'
  const entry = is64 ? view.getBigUint64(24, true) : BigInt(view.getUint32(24, true))
  for (const [i, program] of programs.entries()) {
    const at = header.phoff + i * header.phentsize
    const vaddr = is64 ? view.getBigUint64(at + 16, true) : BigInt(view.getUint32(at + 8, true))
    const inside = Number(entry - vaddr)
    if (program.type === 'load' && inside >= 0 && inside < program.memsz) return program.paddr + inside
  }
  throw new BadInput(`${name} is damaged: its entry 0x${entry.toString(16)} is in none of its segments`)
}

/** Walks the notes for XEN_ELFNOTE_PHYS32_ENTRY; each step moves forward, and a note that does not fit ends the walk. */
function findPvhEntry(image: Uint8Array, programs: readonly elfy.Program[], name: string): number | undefined {
  const view = viewOf(image)
  for (const { type, offset, filesz, align } of programs) {
    if (type !== 'note') continue
    const end = offset + filesz
    if (end > image.length)
      throw new BadInput(`${name} is truncated: its notes end at byte ${end} and the file has ${image.length}`)
    const padding = align === 8 ? 8 : 4
    let at = offset
    while (at + NOTE_HEADER_SIZE <= end) {
      const nameSize = view.getUint32(at, true)
      const descSize = view.getUint32(at + 4, true)
      const nameAt = at + NOTE_HEADER_SIZE
      const descAt = offset + alignUp(nameAt - offset + nameSize, padding)
      const next = offset + alignUp(descAt - offset + descSize, padding)
      if (descAt + descSize > end) break
      const owner = new TextDecoder('latin1').decode(image.subarray(nameAt, nameAt + Math.min(nameSize, 4)))
      if (view.getUint32(at + 8, true) === XEN_ELFNOTE_PHYS32_ENTRY && owner === 'Xen\0' && descSize >= 4)
        return view.getUint32(descAt, true)
      at = next
    }
  }
  return undefined
}

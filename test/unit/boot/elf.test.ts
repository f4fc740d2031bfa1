import { describe, expect, it } from 'vitest'
import { readElf } from '../../../src/boot/elf.ts'
import { planBoot } from '../../../src/boot/kernel.ts'
import { bootInputs, outcomeOf } from '../../support/boot-outcome.ts'
import { elf, join, memoryMapOf, note, pvhNote } from '../../support/kernel-images.ts'

const MIB = 0x100000
const memoryMap = memoryMapOf(64)
const HIGH_RAM = { start: 0x1_0000_0000, size: 64 * MIB, type: 'ram' } as const
const code = new Uint8Array(0x100).fill(0x90)

describe('readElf', () => {
  it.each([32, 64] as const)('reads segments and entry of a %i-bit file', bits => {
    const segments = [
      { paddr: 16 * MIB, bytes: code },
      { paddr: 17 * MIB, bytes: code.subarray(0, 16), memsz: 0x5000 },
    ]
    const kernel = readElf(elf({ bits, segments, entry: BigInt(16 * MIB + 0x10) }), 'kernel')
    expect(kernel).toEqual({
      bits,
      entry: 16 * MIB + 0x10,
      pvhEntry: undefined,
      segments: [
        { start: 16 * MIB, size: 0x100, bytes: code },
        { start: 17 * MIB, size: 0x5000, bytes: code.subarray(0, 16) },
      ],
    })
  })

  it('reads a file that lies inside a larger buffer', () => {
    const padded = join(new Uint8Array(3), elf())
    expect(readElf(padded.subarray(3), 'kernel').entry).toBe(16 * MIB)
  })

  it('translates a virtual entry through its segment, to the byte', () => {
    const segments = [{ paddr: 2 * MIB, vaddr: 0xffff_ffff_8020_0000n, bytes: code }]
    expect(readElf(elf({ segments, entry: 0xffff_ffff_8020_0013n }), 'kernel').entry).toBe(2 * MIB + 0x13)
  })

  it('finds the PVH note behind other notes', () => {
    const notes = join(note('GNU', 3, new Uint8Array(20)), note('Xenon', 18, new Uint8Array(4)), pvhNote(0x1000040))
    expect(readElf(elf({ notes }), 'kernel').pvhEntry).toBe(0x1000040)
  })

  it('does not leave the notes when one of them announces too much', () => {
    const notes = join(new Uint8Array(new Uint32Array([0xffffffff, 0xffffffff, 18]).buffer), pvhNote(0x1000040))
    expect(readElf(elf({ notes }), 'kernel').pvhEntry).toBeUndefined()
  })

  it.each([
    ['another machine', { machine: 183 }, /for another machine/],
    ['a relocatable object', { type: 1 }, /of another type/],
    ['a core dump', { type: 4 }, /of another type/],
    ['a dynamic program', { extraType: 3 }, /a program for an operating system/],
    ['a program with thread storage', { extraType: 7 }, /a program for an operating system/],
    ['no program headers', { segments: [], entry: 0n }, /nothing to load/],
    ['only empty segments', { segments: [{ paddr: 16 * MIB, bytes: new Uint8Array(0) }] }, /nothing to load/],
    [
      'more file than memory',
      { segments: [{ paddr: 16 * MIB, bytes: code, memsz: 1 }] },
      /256 bytes in the file and 1/,
    ],
    ['an entry elsewhere', { entry: 0x900000n }, /entry 0x900000 is in none/],
    [
      'overlapping segments',
      {
        segments: [
          { paddr: 16 * MIB, bytes: code },
          { paddr: 16 * MIB + 0xff, bytes: code },
        ],
      },
      /two of its segments load at the same address 0x10000ff/,
    ],
  ])('refuses %s', (_name, options, message) => {
    expect(outcomeOf(bootInputs(elf(options), { memoryMap, protocol: 'linux64' }))).toMatch(message)
  })

  it('refuses a big-endian file', () => {
    const image = elf()
    image[5] = 2
    expect(outcomeOf(bootInputs(image, { memoryMap }))).toMatch(/for another machine/)
  })

  it.each([4, 5, 15, 16, 40, 63])('refuses a file cut at byte %i, inside its header', size => {
    expect(outcomeOf(bootInputs(elf().slice(0, size), { memoryMap }))).toMatch(/^kernel is truncated/)
  })

  it.each([64, 119])('refuses a file cut at byte %i, inside its program headers', size => {
    expect(outcomeOf(bootInputs(elf().slice(0, size), { memoryMap }))).toMatch(/program headers lie beyond/)
  })

  it.each([120, 0x1000, 0x2fff])('refuses a file cut at byte %i, inside a segment', size => {
    expect(outcomeOf(bootInputs(elf().slice(0, size), { memoryMap }))).toMatch(/segment ends at byte 12288/)
  })
})

describe('planBoot of an ELF kernel', () => {
  it('enters by the 64-bit protocol when there is no PVH note', () => {
    const plan = planBoot(bootInputs(elf({ entry: 0x1000053n }), { memoryMap, cmdline: 'a', rsdp: 0xe0000 }))
    expect(plan).toMatchObject({ format: 'elf', protocol: 'linux64' })
    expect(plan.entry).toEqual({ mode: 'long', rip: 0x1000053, rsi: 0x81000, pageTables: 0x82000, gdt: 0x80000 })
    expect(plan.segments.map(({ gpa }) => gpa)).toEqual([0x80000, 0x81000, 0x82000, 0x8c000, 0x1000000])
  })

  it('gives a vmlinux a setup header of protocol 2.12', () => {
    const plan = planBoot(bootInputs(elf(), { memoryMap, initrd: [new Uint8Array(7)] }))
    const page = plan.segments.find(segment => segment.gpa === 0x81000)!.bytes
    const hex = (from: number, to: number) => Buffer.from(page.subarray(from, to)).toString('hex')
    expect(hex(0x1fe, 0x200)).toBe('55aa')
    expect(hex(0x202, 0x208)).toBe('486472530c02')
    expect(hex(0x210, 0x212)).toBe('ff01')
    expect(hex(0x218, 0x220)).toBe('00f0ff0308000000')
    expect(hex(0x228, 0x22c)).toBe('00c00800')
    expect(page[0x1ef]).toBe(0)
  })

  it('enters by PVH in 32-bit mode when the note is there', () => {
    const plan = planBoot(bootInputs(elf({ notes: pvhNote(0x1000040) }), { memoryMap }))
    expect(plan).toMatchObject({ format: 'elf', protocol: 'pvh' })
    expect(plan.entry).toEqual({ mode: 'protected', eip: 0x1000040, eax: 0, ebx: 0x88000, gdt: 0x80000 })
  })

  it('keeps to the protocol asked for', () => {
    const image = elf({ notes: pvhNote(0x1000040) })
    expect(planBoot(bootInputs(image, { memoryMap, protocol: 'linux64' })).protocol).toBe('linux64')
  })

  it.each([
    ['over the boot tables', 0x7ff80, /over the boot tables at 0x80000-0x90000/],
    ['over the ACPI tables', 0xe0000, /not RAM/],
    ['past the end of RAM', 64 * MIB - 0x80, /needs guest memory at 0x3ffff80-0x4000080.*raise -m/],
  ])('refuses a kernel that loads %s', (_name, paddr, message) => {
    const image = elf({ segments: [{ paddr, bytes: code }] })
    expect(outcomeOf(bootInputs(image, { memoryMap }))).toMatch(message)
  })

  it('refuses a kernel in RAM beyond 4 GiB, where the page tables end', () => {
    const image = elf({ segments: [{ paddr: 0x1_0000_0000, bytes: code }] })
    expect(outcomeOf(bootInputs(image, { memoryMap: [...memoryMap, HIGH_RAM] }))).toMatch(/needs guest memory/)
  })

  it.each([0x8000, 0x7ff00, 0x90000])('takes a small kernel at 0x%x', paddr => {
    const plan = planBoot(bootInputs(elf({ segments: [{ paddr, bytes: code }] }), { memoryMap }))
    expect(plan.entry).toMatchObject({ rip: paddr })
  })

  it('refuses a 32-bit ELF file that is no multiboot and no PVH kernel', () => {
    expect(outcomeOf(bootInputs(elf({ bits: 32 }), { memoryMap }))).toMatch(/32-bit ELF file without/)
  })
})

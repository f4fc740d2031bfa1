import { describe, expect, it } from 'vitest'
import { planBoot } from '../../../src/boot/kernel.ts'
import { findMultibootHeader } from '../../../src/boot/multiboot.ts'
import { bootInputs, outcomeOf } from '../../support/boot-outcome.ts'
import { elf, join, memoryMapOf, multibootHeader, pvhNote } from '../../support/kernel-images.ts'

const MIB = 0x100000
const memoryMap = memoryMapOf(64)
const body = join(multibootHeader(3), new Uint8Array(0xf4).fill(0x90))
const segments = [{ paddr: 4 * MIB, bytes: body, memsz: 0x2800 }]
const entry = BigInt(4 * MIB + 0xc)

/** A flat image loaded at 2 MiB: 16 bytes, the header, code. Fields: header, load, load end, bss end, entry. */
const flat = (addresses: readonly number[]) =>
  join(new Uint8Array(16), multibootHeader(0x10000, addresses), new Uint8Array(0x100).fill(0xf4))

describe('findMultibootHeader', () => {
  it.each([0, 4, 8180])('finds one at byte %i', at => {
    expect(findMultibootHeader(join(new Uint8Array(at), multibootHeader(0), new Uint8Array(64)))).toBe(at)
  })

  it.each([
    ['at an odd place', join(new Uint8Array(2), multibootHeader(0))],
    ['past 8 KiB', join(new Uint8Array(8184), multibootHeader(0))],
    ['with a wrong checksum', multibootHeader(0).fill(1, 8)],
    ['that is cut', multibootHeader(0).slice(0, 11)],
    ['in an empty file', new Uint8Array(0)],
  ])('finds none %s', (_name, image) => {
    expect(findMultibootHeader(image)).toBeUndefined()
  })
})

describe('planBoot of a multiboot kernel', () => {
  it.each([32, 64] as const)('enters a %i-bit ELF file in 32-bit mode', bits => {
    const plan = planBoot(bootInputs(elf({ bits, segments, entry }), { memoryMap }))
    expect(plan).toMatchObject({ format: 'elf', protocol: 'multiboot' })
    expect(plan.entry).toEqual({ mode: 'protected', eip: 0x40000c, eax: 0x2badb002, ebx: 0x89000, gdt: 0x80000 })
    expect(plan.segments.map(({ gpa }) => gpa)).toEqual([0x80000, 0x89000, 0x8c000, 0x400000])
  })

  it('goes before PVH unless PVH is asked for', () => {
    const image = elf({ segments, entry, notes: pvhNote(4 * MIB + 0x20) })
    expect(planBoot(bootInputs(image, { memoryMap })).protocol).toBe('multiboot')
    expect(planBoot(bootInputs(image, { memoryMap, protocol: 'pvh' })).protocol).toBe('pvh')
  })

  it('pins the information structure, modules and memory map', () => {
    const initrd = [new Uint8Array(0x1001), new Uint8Array(5)]
    const image = elf({ bits: 32, segments, entry })
    const plan = planBoot(bootInputs(image, { memoryMap, initrd, imageName: '/tests/apic.flat', cmdline: 'a b' }))
    const { bytes } = plan.segments.find(segment => segment.gpa === 0x89000)!
    const words = new Uint32Array(bytes.slice(0, 128 + 32 + 72).buffer)
    const expected = new Uint32Array(58)
    expected.set([0x24d, 639, 63 * 1024, 0, 0x8c000, 2, 0x89080])
    expected.set([72, 0x890a0], 11)
    expected[16] = 0x890e8
    expected.set([0x403000, 0x404001, 0x890f0, 0, 0x405000, 0x405005, 0x890f0, 0], 32)
    expected.set([20, 0, 0, 0x9fc00, 0, 1, 20, 0xe0000, 0, 0x20000, 0, 3, 20, MIB, 0, 63 * MIB, 0, 1], 40)
    expect(words).toEqual(expected)
    expect(new TextDecoder().decode(bytes.subarray(0xe8))).toBe('bulkhead\0')
    expect(plan.segments.slice(-2)).toEqual([
      { gpa: 0x403000, bytes: initrd[0] },
      { gpa: 0x405000, bytes: initrd[1] },
    ])
    const cmdline = plan.segments.find(segment => segment.gpa === 0x8c000)!.bytes
    expect(new TextDecoder().decode(cmdline)).toBe('apic.flat a b\0')
  })

  it('loads a flat image by the addresses in its header', () => {
    const image = flat([0x200010, 0x200000, 0x200100, 0x205000, 0x200040])
    const plan = planBoot(bootInputs(image, { memoryMap, initrd: [new Uint8Array(1)] }))
    expect(plan).toMatchObject({ format: 'multiboot', protocol: 'multiboot', entry: { eip: 0x200040 } })
    expect(plan.segments.at(-2)).toEqual({ gpa: 0x200000, bytes: image.subarray(0, 0x100) })
    expect(plan.segments.at(-1)?.gpa).toBe(0x205000)
  })

  it('loads the whole rest of a flat image when its end is zero', () => {
    const image = flat([0x200010, 0x200010, 0, 0, 0x200030])
    const plan = planBoot(bootInputs(image, { memoryMap }))
    expect(plan.segments.at(-1)).toEqual({ gpa: 0x200010, bytes: image.subarray(16) })
  })

  it('prefers the addresses in the header to those of an ELF file', () => {
    const bytes = join(multibootHeader(0x10000, [0x600000, 0x600000, 0x600080, 0, 0x600020]), new Uint8Array(0x80))
    const plan = planBoot(bootInputs(elf({ segments: [{ paddr: 4 * MIB, bytes }] }), { memoryMap }))
    expect(plan.segments.at(-1)).toMatchObject({ gpa: 0x600000, bytes: bytes.subarray(0, 0x80) })
  })

  it.each([
    ['a header before the load address', [0x200010, 0x1ff000, 0, 0, 0x200040], /contradict/],
    ['a load address past the header', [0x200010, 0x200014, 0, 0, 0x200040], /contradict/],
    ['an end before the start', [0x200010, 0x200000, 0x1fffff, 0, 0x200040], /contradict/],
    ['a bss that ends before the data', [0x200010, 0x200000, 0x200100, 0x2000ff, 0x200040], /contradict/],
    ['an entry outside', [0x200010, 0x200000, 0x200100, 0, 0x200100], /contradict/],
    ['more than the file', [0x200010, 0x200000, 0x200200, 0, 0x200040], /wants 512 bytes and the file has 304/],
    ['addresses outside RAM', [0x8000010, 0x8000000, 0, 0, 0x8000040], /raise -m/],
    ['addresses over the boot tables', [0x80010, 0x80000, 0, 0, 0x80040], /over the boot tables/],
  ])('refuses a flat image with %s', (_name, addresses, message) => {
    expect(outcomeOf(bootInputs(flat(addresses), { memoryMap }))).toMatch(message)
  })

  it('refuses a flat image cut inside the addresses', () => {
    expect(outcomeOf(bootInputs(flat([0, 0, 0, 0, 0]).slice(0, 47), { memoryMap }))).toMatch(/inside its multiboot/)
  })

  it('refuses a header without addresses outside an ELF file', () => {
    expect(outcomeOf(bootInputs(join(multibootHeader(0), new Uint8Array(64)), { memoryMap }))).toMatch(/no ELF file/)
  })

  it('refuses requirements that do not exist and takes a wish for a video mode', () => {
    const image = (flags: number) =>
      elf({ segments: [{ paddr: 4 * MIB, bytes: join(multibootHeader(flags), new Uint8Array(64)) }] })
    expect(outcomeOf(bootInputs(image(0x8), { memoryMap }))).toMatch(/features that do not exist: flags 0x8/)
    expect(outcomeOf(bootInputs(image(0x4), { memoryMap }))).toMatchObject({ protocol: 'multiboot' })
  })

  it('refuses more modules than the information page holds', () => {
    const initrd = Array.from({ length: 250 }, () => new Uint8Array(1))
    expect(outcomeOf(bootInputs(elf({ segments, entry }), { memoryMap, initrd }))).toMatch(/250 modules/)
  })

  it('refuses a module that does not fit', () => {
    const initrd = [new Uint8Array(61 * MIB)]
    expect(outcomeOf(bootInputs(elf({ segments, entry }), { memoryMap, initrd }))).toMatch(/needs 61 MiB.*raise -m/)
  })

  it('refuses a Linux kernel that is asked to start by multiboot', () => {
    expect(outcomeOf(bootInputs(elf(), { memoryMap, protocol: 'multiboot' }))).toMatch(/has no multiboot header/)
  })
})

import { describe, expect, it } from 'vitest'
import { planBoot } from '../../../src/boot/kernel.ts'
import { bootInputs, outcomeOf } from '../../support/boot-outcome.ts'
import { bzImage, memoryMapOf } from '../../support/kernel-images.ts'

const MIB = 0x100000
const memoryMap = memoryMapOf(64)

describe('planBoot of a bzImage', () => {
  it('loads the protected-mode part at the preferred address and enters it at +0x200', () => {
    const image = bzImage({ setupSects: 3 })
    const plan = planBoot(bootInputs(image, { memoryMap }))
    expect(plan.format).toBe('bzImage')
    expect(plan.protocol).toBe('linux64')
    expect(plan.entry).toEqual({ mode: 'long', rip: 0x1000200, rsi: 0x81000, pageTables: 0x82000, gdt: 0x80000 })
    const kernel = plan.segments.find(segment => segment.gpa === 16 * MIB)
    expect(kernel?.bytes).toEqual(image.subarray(4 * 512))
  })

  it('takes zero setup sectors for four', () => {
    const image = bzImage({ setupSects: 0 })
    const plan = planBoot(bootInputs(image, { memoryMap }))
    expect(plan.segments.find(segment => segment.gpa === 16 * MIB)?.bytes).toEqual(image.subarray(5 * 512))
  })

  it('leaves out what follows the announced size', () => {
    const image = new Uint8Array([...bzImage(), ...new Uint8Array(100).fill(0x55)])
    const plan = planBoot(bootInputs(image, { memoryMap }))
    expect(plan.segments.find(segment => segment.gpa === 16 * MIB)?.bytes.length).toBe(0x1000)
  })

  it('writes a zero page with the header, loader fields and memory map and nothing else', () => {
    const image = bzImage()
    const initrd = [new Uint8Array(5).fill(1), new Uint8Array(4).fill(2)]
    const plan = planBoot(bootInputs(image, { memoryMap, initrd, cmdline: 'quiet', rsdp: 0xe0000 }))

    const expected = new Uint8Array(4096)
    const view = new DataView(expected.buffer)
    expected.set(image.subarray(0x1f1, 0x26c), 0x1f1)
    view.setUint32(0x70, 0xe0000, true)
    expected[0x1e8] = 3
    expected[0x210] = 0xff
    view.setUint32(0x218, 64 * MIB - 0x1000, true)
    view.setUint32(0x21c, 12, true)
    view.setUint32(0x228, 0x8c000, true)
    const e820 = [0, 0x9fc00, 1, 0xe0000, 0x20000, 3, MIB, 63 * MIB, 1]
    e820.forEach((value, i) => {
      view.setUint32(0x2d0 + Math.floor(i / 3) * 20 + (i % 3) * 8, value, true)
    })
    expect(plan.segments.find(segment => segment.gpa === 0x81000)?.bytes).toEqual(expected)
  })

  it('puts the command line with its NUL at its place', () => {
    const plan = planBoot(bootInputs(bzImage(), { memoryMap, cmdline: 'console=ttyS0' }))
    const bytes = plan.segments.find(segment => segment.gpa === 0x8c000)?.bytes
    expect(new TextDecoder().decode(bytes)).toBe('console=ttyS0\0')
  })

  it('never copies beyond the room for the header', () => {
    const image = bzImage({ headerEnd: 0x301 }).fill(0xee, 0x290, 0x301)
    const plan = planBoot(bootInputs(image, { memoryMap }))
    const page = plan.segments.find(segment => segment.gpa === 0x81000)!.bytes
    expect(page.subarray(0x290, 0x2d0).every(byte => byte === 0)).toBe(true)
  })

  it.each([
    ['the preferred address', {}, 64, 16 * MIB],
    ['the aligned preferred address if relocatable', { prefAddress: 16 * MIB + 1 }, 64, 18 * MIB],
    ['the unaligned preferred address if not', { prefAddress: 16 * MIB + 4096, relocatable: false }, 64, 16781312],
    ['1 MiB up if the preferred address is lower', { prefAddress: 0x10000 }, 64, 2 * MIB],
  ])('chooses %s', (_name, options, mib, expected) => {
    const plan = planBoot(bootInputs(bzImage(options), { memoryMap: memoryMapOf(mib) }))
    expect(plan.entry).toMatchObject({ rip: expected + 0x200 })
  })

  it('moves a relocatable kernel above a hole at its preferred address', () => {
    const holed = [...memoryMap, { start: 17 * MIB, size: 0x1000, type: 'reserved' }] as const
    const plan = planBoot(bootInputs(bzImage(), { memoryMap: holed }))
    expect(plan.entry).toMatchObject({ rip: 18 * MIB + 0x200 })
  })

  it.each([
    ['a kernel bigger than RAM', { initSize: 49 * MIB }, /kernel needs guest memory at 0x1000000-0x4100000.*raise -m/],
    ['a fixed kernel outside RAM', { prefAddress: 128 * MIB, relocatable: false }, /is not RAM in a guest of 64 MiB/],
    ['a fixed kernel below 1 MiB', { prefAddress: 0x10000, relocatable: false }, /raise -m or use another kernel/],
    ['a 32-bit kernel', { xloadflags: 0 }, /32-bit Linux kernel/],
    ['an old protocol', { version: 0x020b }, /boot protocol 2\.11/],
    ['alignment zero', { kernelAlignment: 0 }, /alignment 0 is no power of two/],
    ['an odd alignment', { kernelAlignment: 0x300000 }, /no power of two/],
    ['a kernel that ends before its entry', { system: new Uint8Array(0x200) }, /announces a kernel of 512 bytes/],
  ])('refuses %s', (_name, options, message) => {
    expect(outcomeOf(bootInputs(bzImage(options), { memoryMap }))).toMatch(message)
  })

  it('takes a command line of exactly cmdline_size and refuses one more byte', () => {
    const image = bzImage({ cmdlineSize: 100 })
    expect(outcomeOf(bootInputs(image, { memoryMap, cmdline: 'x'.repeat(100) }))).toMatchObject({ protocol: 'linux64' })
    expect(outcomeOf(bootInputs(image, { memoryMap, cmdline: 'x'.repeat(101) }))).toBe(
      'the kernel command line is 101 bytes long, but kernel takes at most 100',
    )
  })

  it('counts bytes, not characters, in the command line', () => {
    const image = bzImage({ cmdlineSize: 100 })
    expect(outcomeOf(bootInputs(image, { memoryMap, cmdline: 'ä'.repeat(51) }))).toMatch(/102 bytes/)
  })

  it('refuses a NUL in the command line', () => {
    expect(outcomeOf(bootInputs(bzImage(), { memoryMap, cmdline: 'a\0b' }))).toMatch(/contains a NUL/)
  })

  it.each([0x206, 0x210, 0x236, 0x258, 0x263])('refuses a file cut at 0x%x, inside the header', size => {
    expect(outcomeOf(bootInputs(bzImage().slice(0, size), { memoryMap }))).toBe(
      `kernel is truncated: the file of ${size} bytes ends inside its setup header`,
    )
  })

  it.each([0x264, 1024, 1025, 0x400 + 0x1000 - 1])('refuses a file cut at byte %i, inside the kernel', size => {
    expect(outcomeOf(bootInputs(bzImage().slice(0, size), { memoryMap }))).toBe(
      `kernel is truncated: its header announces 5120 bytes and the file has ${size}`,
    )
  })
})

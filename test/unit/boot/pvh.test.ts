import { describe, expect, it } from 'vitest'
import { planBoot } from '../../../src/boot/kernel.ts'
import { startInfoSegment } from '../../../src/boot/pvh.ts'
import { bootInputs, outcomeOf } from '../../support/boot-outcome.ts'
import { bzImage, elf, memoryMapOf, pvhNote } from '../../support/kernel-images.ts'

const MIB = 0x100000
const memoryMap = memoryMapOf(64)
const image = elf({ notes: pvhNote(0x1000040) })

describe('startInfoSegment', () => {
  it('pins start info, module list and memory map byte for byte', () => {
    const { gpa, bytes } = startInfoSegment({ initrd: { start: 0x3fff000, size: 0x123 }, memoryMap, rsdp: 0xe0000 })
    const words = [
      // magic, version, flags, modules; modlist, cmdline, rsdp, memmap; entries, reserved
      [0x336ec578, 1, 0, 1, 0x88038, 0, 0x8c000, 0, 0xe0000, 0, 0x88058, 0, 3, 0],
      [0x3fff000, 0, 0x123, 0, 0, 0, 0, 0],
      [0, 0, 0x9fc00, 0, 1, 0],
      [0xe0000, 0, 0x20000, 0, 3, 0],
      [MIB, 0, 63 * MIB, 0, 1, 0],
    ].flat()
    expect(gpa).toBe(0x88000)
    expect(Array.from(new Uint32Array(bytes.buffer))).toEqual(words)
  })

  it('announces no module without an initrd', () => {
    const { bytes } = startInfoSegment({ initrd: undefined, memoryMap, rsdp: 0 })
    const words = new Uint32Array(bytes.buffer)
    expect(words[3]).toBe(0)
    expect(words[4]).toBe(0)
  })

  it('keeps addresses above 4 GiB whole', () => {
    const high = { start: 0x1_0000_0000, size: 0x2_8000_0000, type: 'ram' } as const
    const { bytes } = startInfoSegment({ initrd: undefined, memoryMap: [high], rsdp: 0 })
    expect(Array.from(new Uint32Array(bytes.buffer).subarray(22))).toEqual([0, 1, 0x80000000, 2, 1, 0])
  })
})

describe('planBoot by PVH', () => {
  it('gives the initrd as one module at the top of RAM', () => {
    const initrd = [new Uint8Array(3), new Uint8Array(5)]
    const plan = planBoot(bootInputs(image, { memoryMap, initrd }))
    const info = new DataView(plan.segments.find(segment => segment.gpa === 0x88000)!.bytes.buffer)
    expect(info.getUint32(12, true)).toBe(1)
    expect(info.getUint32(56, true)).toBe(64 * MIB - 0x1000)
    expect(info.getUint32(64, true)).toBe(12)
  })

  it('unpacks a bzImage that is asked to start by PVH', () => {
    const packed = bzImage({ payload: withSize(Bun.zstdCompressSync(image), image.length) })
    const plan = planBoot(bootInputs(packed, { memoryMap, protocol: 'pvh' }))
    expect(plan).toMatchObject({ format: 'bzImage', protocol: 'pvh', entry: { eip: 0x1000040 } })
  })

  it.each([
    ['an ELF file without the note', elf(), /no PVH entry note/],
    ['an entry outside the kernel', elf({ notes: pvhNote(0x5000) }), /PVH entry 0x5000 is in none/],
    ['a bzImage with another compression', bzImage({ payload: new Uint8Array(64) }), /neither zstd nor gzip/],
  ])('refuses %s', (_name, kernel, message) => {
    expect(outcomeOf(bootInputs(kernel, { memoryMap, protocol: 'pvh' }))).toMatch(message)
  })

  it('refuses a command line that Linux would cut', () => {
    expect(outcomeOf(bootInputs(image, { memoryMap, cmdline: 'x'.repeat(2048) }))).toMatch(/takes at most 2047/)
  })
})

function withSize(payload: Uint8Array, size: number): Uint8Array {
  return new Uint8Array(Buffer.concat([payload, new Uint8Array(new Uint32Array([size]).buffer)]))
}

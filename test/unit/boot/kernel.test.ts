import { describe, expect, it } from 'vitest'
import { planBoot } from '../../../src/boot/kernel.ts'
import { bootInputs, mutate, outcomeOf, randomFrom, straySegments } from '../../support/boot-outcome.ts'
import { bzImage, elf, join, memoryMapOf, multibootHeader, pvhNote } from '../../support/kernel-images.ts'

const MIB = 0x100000
const memoryMap = memoryMapOf(64)
const ADDRESSES = [0x400000, 0x400000, 0x400100, 0x402000, 0x400020]
const body = new Uint8Array(0x100)
const multiboot = elf({ bits: 32, segments: [{ paddr: 4 * MIB, bytes: join(multibootHeader(3), body) }] })
const multibootByAddresses = elf({
  bits: 32,
  segments: [{ paddr: 4 * MIB, bytes: join(multibootHeader(0x10003, ADDRESSES), body) }],
})

describe('planBoot', () => {
  it.each([
    ['an empty file', new Uint8Array(0), /^kernel is empty/],
    ['one byte', new Uint8Array(1), /^kernel is no kernel image: it is neither/],
    ['zeros', new Uint8Array(0x10000), /neither a bzImage nor an ELF file nor a multiboot image/],
    ['text', new TextEncoder().encode('#!/bin/sh\n'.repeat(1000)), /no kernel image/],
  ])('refuses %s', (_name, image, message) => {
    expect(outcomeOf(bootInputs(image, { memoryMap }))).toMatch(message)
  })

  it('refuses a guest without low memory', () => {
    const none = [{ start: MIB, size: 64 * MIB, type: 'ram' }] as const
    expect(outcomeOf(bootInputs(bzImage(), { memoryMap: none }))).toMatch(/no room for the boot tables/)
  })

  it('refuses a bzImage that is asked to start by multiboot', () => {
    expect(outcomeOf(bootInputs(bzImage(), { memoryMap, protocol: 'multiboot' }))).toMatch(/multiboot cannot start/)
  })

  it('throws errors of type BadInput', () => {
    expect(() => planBoot(bootInputs(new Uint8Array(0), { memoryMap }))).toThrow(
      expect.objectContaining({ name: 'BadInput' }),
    )
  })

  it('copies no kernel or initrd bytes', () => {
    const initrd = [new Uint8Array(100)]
    const image = bzImage()
    const { segments } = planBoot(bootInputs(image, { memoryMap, initrd }))
    expect(segments.find(segment => segment.gpa === 16 * MIB)?.bytes.buffer).toBe(image.buffer)
    expect(segments.at(-1)?.bytes).toBe(initrd[0])
  })

  it.each([
    ['bzImage header', bzImage(), 0x1f1, 0x26c],
    ['64-bit ELF headers', elf({ notes: pvhNote(0x1000040) }), 0, 64 + 2 * 56],
    ['32-bit ELF headers', elf({ bits: 32, notes: pvhNote(0x1000040) }), 0, 52 + 2 * 32],
    ['PVH note', elf({ notes: pvhNote(0x1000040) }), 0x3000, 0x3018],
    ['multiboot ELF headers', multiboot, 0, 52 + 32],
    ['multiboot header', multibootByAddresses, 0x1000 + 12, 0x1000 + 32],
  ])('answers 400 mutations of a %s with a plan in RAM or a BadInput', (_name, image, start, end) => {
    const random = randomFrom(0x600d)
    const initrd = [new Uint8Array(0x5001)]
    const inputs = Array.from({ length: 400 }, () =>
      bootInputs(mutate(image, start, end, random), { memoryMap, initrd }),
    )
    const outcomes = inputs.map(outcomeOf)
    expect(outcomes.flatMap((outcome, i) => straySegments(outcome, inputs[i]!))).toEqual([])
    expect(outcomes.filter(outcome => typeof outcome === 'string').length).toBeGreaterThan(10)
  })

  it('answers random bytes behind each magic number with a BadInput', () => {
    const random = randomFrom(7)
    const noise = () => new Uint8Array(0x2000).map(() => random() & 0xff)
    const heads = [noise(), elf().subarray(0, 20), elf({ bits: 32 }).subarray(0, 20), bzImage().subarray(0, 0x206)]
    const outcomes = heads.flatMap(head =>
      Array.from({ length: 50 }, () => outcomeOf(bootInputs(join(head, noise()), { memoryMap }))),
    )
    expect(outcomes.filter(outcome => typeof outcome !== 'string')).toEqual([])
  })
})

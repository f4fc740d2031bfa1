import { describe, expect, it } from 'vitest'
import { planBoot } from '../../../src/boot/kernel.ts'
import { bootInputs, outcomeOf } from '../../support/boot-outcome.ts'
import { bzImage, memoryMapOf } from '../../support/kernel-images.ts'

const MIB = 0x100000

describe('planBoot with an initrd', () => {
  it('puts each part behind the one before at a multiple of four, at the top of RAM', () => {
    const initrd = [new Uint8Array(5).fill(1), new Uint8Array(0), new Uint8Array(6).fill(2)]
    const plan = planBoot(bootInputs(bzImage(), { memoryMap: memoryMapOf(64), initrd }))
    const start = 64 * MIB - 4096
    expect(plan.segments.slice(-2)).toEqual([
      { gpa: start, bytes: initrd[0] },
      { gpa: start + 8, bytes: initrd[2] },
    ])
  })

  it('stays at or below the highest address that the kernel names', () => {
    const image = bzImage({ initrdAddrMax: 0x37ffffff })
    const plan = planBoot(bootInputs(image, { memoryMap: memoryMapOf(2048), initrd: [new Uint8Array(4096)] }))
    expect(plan.segments.at(-1)?.gpa).toBe(0x37fff000)
  })

  it('steps below a kernel at the top of RAM', () => {
    const image = bzImage({ prefAddress: 48 * MIB, initSize: 16 * MIB })
    const plan = planBoot(bootInputs(image, { memoryMap: memoryMapOf(64), initrd: [new Uint8Array(1)] }))
    expect(plan.segments.at(-1)?.gpa).toBe(48 * MIB - 4096)
  })

  it('fills RAM to the last byte and not beyond', () => {
    const inputs = bootInputs(bzImage(), { memoryMap: memoryMapOf(64) })
    const fits = new Uint8Array(40 * MIB)
    const tooBig = new Uint8Array(40 * MIB + 1)
    expect(outcomeOf({ ...inputs, initrd: [fits] })).toMatchObject({ protocol: 'linux64' })
    expect(outcomeOf({ ...inputs, initrd: [tooBig], initrdName: 'disk.cpio' })).toBe(
      'disk.cpio needs 41 MiB beside the kernel and the guest has 64 MiB: raise -m',
    )
  })

  it('never goes below 1 MiB', () => {
    const image = bzImage({ prefAddress: 2 * MIB, initSize: 62 * MIB })
    const initrd = [new Uint8Array(MIB + 1)]
    expect(outcomeOf(bootInputs(image, { memoryMap: memoryMapOf(64), initrd }))).toMatch(/raise -m$/)
    const small = planBoot(bootInputs(image, { memoryMap: memoryMapOf(64), initrd: [new Uint8Array(1)] }))
    expect(small.segments.at(-1)?.gpa).toBe(2 * MIB - 4096)
    const full = bzImage({ prefAddress: MIB, initSize: 63 * MIB, kernelAlignment: MIB })
    expect(outcomeOf(bootInputs(full, { memoryMap: memoryMapOf(64), initrd: [new Uint8Array(1)] }))).toMatch(
      /raise -m$/,
    )
  })

  it('is left out when all parts are empty', () => {
    const plan = planBoot(bootInputs(bzImage(), { memoryMap: memoryMapOf(64), initrd: [new Uint8Array(0)] }))
    const page = plan.segments.find(segment => segment.gpa === 0x81000)!.bytes
    expect(page.subarray(0x218, 0x220)).toEqual(new Uint8Array(8))
  })
})

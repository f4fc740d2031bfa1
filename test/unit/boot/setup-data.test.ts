import { describe, expect, it } from 'vitest'
import { planBoot } from '../../../src/boot/kernel.ts'
import { bootInputs, outcomeOf } from '../../support/boot-outcome.ts'
import { bzImage, elf, memoryMapOf, multibootHeader, pvhNote } from '../../support/kernel-images.ts'

const MIB = 0x100000
const memoryMap = memoryMapOf(64)
const deviceTree = Uint8Array.of(0xd0, 0x0d, 0xfe, 0xed, 1)
const SETUP_DATA = 0x8a000
/** Of the zero page. */
const SETUP_DATA_FIELD = 0x250

const pvhKernel = () => elf({ notes: pvhNote(16 * MIB) })
const multibootKernel = () => {
  const code = new Uint8Array(0x1000)
  code.set(multibootHeader(0), 0)
  return elf({ bits: 32, machine: 3, segments: [{ paddr: MIB, bytes: code }] })
}

function planOf(image: Uint8Array, rest: object) {
  const { segments, protocol } = planBoot(bootInputs(image, { memoryMap, ...rest }))
  const zeroPage = segments.find(({ gpa }) => gpa === 0x81000)?.bytes
  const setupData = segments.find(({ gpa }) => gpa === SETUP_DATA)?.bytes
  const field = zeroPage && new DataView(zeroPage.buffer, zeroPage.byteOffset).getBigUint64(SETUP_DATA_FIELD, true)
  return { protocol, field, setupData: setupData && Buffer.from(setupData).toString('hex') }
}

describe('planBoot with a device tree', () => {
  it.each([
    ['a bzImage', bzImage()],
    ['a 64-bit ELF file', elf()],
    ['an ELF file that could start by PVH', pvhKernel()],
  ])('hands it to %s as setup data', (_name, image) => {
    expect(planOf(image, { deviceTree })).toEqual({
      protocol: 'linux64',
      field: BigInt(SETUP_DATA),
      setupData: `${'00'.repeat(8)}0200000005000000d00dfeed01`,
    })
  })

  it.each([
    ['a bzImage', bzImage(), 'linux64', 0n],
    ['an ELF file that could start by PVH', pvhKernel(), 'pvh', undefined],
  ])('changes nothing for %s when there is none', (_name, image, protocol, field) => {
    expect(planOf(image, {})).toEqual({ protocol, field, setupData: undefined })
  })

  it.each([
    ['pvh', pvhKernel()],
    ['multiboot', multibootKernel()],
  ] as const)('refuses %s, which has no place for one', (protocol, image) => {
    expect(outcomeOf(bootInputs(image, { memoryMap, protocol, deviceTree }))).toBe(
      `kernel is entered by ${protocol}, which takes no device tree: use topology=acpi, or the linux64 protocol`,
    )
  })

  it('stops on one that does not fit its pages', () => {
    expect(() => planOf(bzImage(), { deviceTree: new Uint8Array(0x2000 - 15) })).toThrow('fits its pages')
    expect(planOf(bzImage(), { deviceTree: new Uint8Array(0x2000 - 16) }).field).toBe(BigInt(SETUP_DATA))
  })
})

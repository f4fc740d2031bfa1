import { describe, expect, it } from 'vitest'
import * as structs from '../../../src/vfio/structs.ts'
import * as uapi from '../../../src/vfio/uapi.ts'
import { evaluateInC, missingCompiler } from '../../support/c-program.ts'
import { describeUnless } from '../../support/skip.ts'

const HEADER = 'linux/vfio.h'

/** The ioctl numbers; the rest of uapi.ts is plain numbers, which the headers check. */
const IOCTLS = {
  VFIO_GET_API_VERSION: 0x3b64,
  VFIO_CHECK_EXTENSION: 0x3b65,
  VFIO_SET_IOMMU: 0x3b66,
  VFIO_GROUP_GET_STATUS: 0x3b67,
  VFIO_GROUP_SET_CONTAINER: 0x3b68,
  VFIO_GROUP_GET_DEVICE_FD: 0x3b6a,
  VFIO_DEVICE_GET_INFO: 0x3b6b,
  VFIO_DEVICE_GET_REGION_INFO: 0x3b6c,
  VFIO_DEVICE_GET_IRQ_INFO: 0x3b6d,
  VFIO_DEVICE_SET_IRQS: 0x3b6e,
  VFIO_DEVICE_RESET: 0x3b6f,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: 0x3b70,
  VFIO_DEVICE_PCI_HOT_RESET: 0x3b71,
  VFIO_IOMMU_GET_INFO: 0x3b70,
  VFIO_IOMMU_MAP_DMA: 0x3b71,
  VFIO_IOMMU_UNMAP_DMA: 0x3b72,
} as const

const NUMBERS: Readonly<Record<string, number>> = { ...uapi }

/** The compiler's padding at the end of a struct, which has no name there. */
const PADDING = 'pad'

const snake = (name: string) => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)

describe('uapi', () => {
  it.each(Object.entries(IOCTLS))('%s is its number', (name, number) => {
    expect(NUMBERS[name]).toBe(number)
  })

  it('has no ioctl that is not pinned', () => {
    const ioctls = Object.entries(NUMBERS).filter(([, value]) => value >>> 8 === 0x3b)
    expect(ioctls.map(([name]) => name).filter(name => !Object.hasOwn(IOCTLS, name))).toEqual([])
  })
})

describeUnless(missingCompiler(HEADER), 'the kernel headers', () => {
  it('agree with every number in uapi.ts', () => {
    const ours = Object.entries(NUMBERS)
    const theirs = evaluateInC([HEADER], Object.keys(NUMBERS))
    expect(ours.length).toBeGreaterThan(50)
    expect(Object.fromEntries(theirs)).toEqual(Object.fromEntries(ours))
  })

  it('agree with the size of every struct and the offset of every member', () => {
    const ours = Object.entries(structs).flatMap(([name, { size, offset }]) => [
      [`sizeof(struct ${name})`, size] as const,
      ...Object.entries(offset)
        .filter(([field]) => field !== PADDING)
        .map(([field, at]) => [`offsetof(struct ${name}, ${snake(field)})`, at] as const),
    ])
    const theirs = evaluateInC(
      [HEADER],
      ours.map(([expression]) => expression),
    )
    expect(ours.length).toBeGreaterThan(60)
    expect(Object.fromEntries(theirs)).toEqual(Object.fromEntries(ours))
  })
})

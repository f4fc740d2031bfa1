import { describe, expect, it } from 'vitest'
import { parseIrq, parseRegion } from '../../../src/vfio/region-info.ts'
import { infoStruct, sparseAreas } from '../../support/vfio-info.ts'

const READ_WRITE = 3
const MMAP = 4
const CAPS = 8
const PLACE = 2 ** 40

/** struct vfio_region_info for region 1, with these capabilities behind it. */
function region(flags: number, size: number, ...capabilities: readonly Uint8Array[]): DataView {
  return infoStruct(
    32,
    view => {
      view.setUint32(4, flags, true)
      view.setUint32(8, 1, true)
      view.setBigUint64(16, BigInt(size), true)
      view.setBigUint64(24, BigInt(PLACE), true)
    },
    12,
    capabilities,
  )
}

describe('parseRegion', () => {
  it.each([
    ['a region that is only read and written', region(READ_WRITE, 0x4000), []],
    ['a region without a size', region(READ_WRITE | MMAP, 0), []],
    ['all of a region', region(READ_WRITE | MMAP, 0x4000), [{ offset: 0, size: 0x4000 }]],
    ['the page of a small region', region(READ_WRITE | MMAP, 32), [{ offset: 0, size: 0x1000 }]],
    [
      'the areas of a sparse region by their offset, in whole pages',
      region(READ_WRITE | MMAP | CAPS, 0x8000, sparseAreas([0x5800, 0x2000], [0, 0x2000], [0x3000, 0])),
      [
        { offset: 0, size: 0x2000 },
        { offset: 0x6000, size: 0x1000 },
      ],
    ],
    [
      'all of a region whose capabilities say nothing of areas',
      region(READ_WRITE | MMAP | CAPS, 0x4000, new Uint8Array([3, 0, 1, 0, 0, 0, 0, 0])),
      [{ offset: 0, size: 0x4000 }],
    ],
    ['nothing of a sparse region without areas', region(READ_WRITE | MMAP | CAPS, 0x4000, sparseAreas()), []],
  ])('maps %s', (_, view, mappable) => {
    expect(parseRegion(1, view).mappable).toEqual(mappable)
  })

  it('has size, flags and the place in the file', () => {
    const flags = READ_WRITE | MMAP
    expect(parseRegion(1, region(flags, 0x4000))).toMatchObject({ index: 1, size: 0x4000, flags, offset: PLACE })
  })

  it('has nothing of a region that the kernel does not know', () => {
    expect(parseRegion(8, undefined)).toEqual({ index: 8, size: 0, flags: 0, mappable: [], offset: 0 })
  })

  it('takes no more areas than there are bytes', () => {
    const area = sparseAreas([0, 0x1000])
    area[8] = 200
    expect(parseRegion(1, region(READ_WRITE | MMAP | CAPS, 0x4000, area)).mappable).toEqual([
      { offset: 0, size: 0x1000 },
    ])
  })
})

describe('parseIrq', () => {
  it('has count and flags', () => {
    const view = new DataView(Uint32Array.from([16, 9, 2, 65]).buffer)
    expect(parseIrq(2, view)).toEqual({ index: 2, count: 65, flags: 9 })
  })

  it('has none of a kind that the kernel does not know', () => {
    expect(parseIrq(3, undefined)).toEqual({ index: 3, count: 0, flags: 0 })
  })
})

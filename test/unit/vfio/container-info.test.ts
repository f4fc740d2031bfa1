import { describe, expect, it } from 'vitest'
import { parseContainerInfo, smallestPage } from '../../../src/vfio/container-info.ts'
import { capability, infoStruct } from '../../support/vfio-info.ts'

const PGSIZES = 1
const CAPS = 2
const LAST = 2 ** 53 - 1

/** struct vfio_iommu_type1_info with these capabilities behind it. */
function info(flags: number, pageSizes: bigint, ...capabilities: readonly Uint8Array[]): DataView {
  return infoStruct(
    24,
    view => {
      view.setUint32(4, flags, true)
      view.setBigUint64(8, pageSizes, true)
    },
    16,
    capabilities,
  )
}

/** Words of 64-bit ranges, low half first. */
function ranges(...list: readonly (readonly [bigint, bigint])[]): Uint8Array {
  const words = list.flat().flatMap(value => [Number(value & 0xffff_ffffn), Number(value >> 32n)])
  return capability(1, [list.length, 0, ...words])
}

describe('parseContainerInfo', () => {
  it('has the ranges and the limit of a PC with 39 bits', () => {
    const view = info(
      PGSIZES | CAPS,
      0x4020_1000n,
      capability(3, [65535]),
      capability(2, [0, 0]),
      ranges([0n, 0xfedf_ffffn], [0xfef0_0000n, 0x7f_ffff_ffffn]),
    )
    expect(parseContainerInfo(view)).toEqual({
      pageSizes: 0x4020_1000,
      usable: [
        { start: 0, end: 0xfedf_ffff },
        { start: 0xfef0_0000, end: 0x7f_ffff_ffff },
      ],
      limit: 65535,
    })
  })

  it('has all addresses, no limit and 4 KiB of a kernel that tells nothing', () => {
    expect(parseContainerInfo(info(0, 0n))).toEqual({
      pageSizes: 4096,
      usable: [{ start: 0, end: LAST }],
      limit: undefined,
    })
  })

  it('cuts what lies beyond 2^53', () => {
    const view = info(CAPS, 0n, ranges([0x1000n, 0xffff_ffff_ffff_ffffn], [2n ** 60n, 2n ** 61n]))
    expect(parseContainerInfo(view).usable).toEqual([{ start: 0x1000, end: LAST }])
  })

  it('has the page sizes below 2^53', () => {
    expect(parseContainerInfo(info(PGSIZES, 0xffff_ffff_ffff_f000n)).pageSizes).toBe(2 ** 53 - 4096)
  })

  it('takes no more ranges than there are bytes', () => {
    const list = ranges([0n, 0xfffn])
    list[8] = 100
    expect(parseContainerInfo(info(CAPS, 0n, list)).usable).toEqual([{ start: 0, end: 0xfff }])
  })

  it('stops at a chain that loops or leaves the struct', () => {
    const loop = info(CAPS, 0n, capability(2, [0, 0]))
    loop.setUint32(24 + 4, 24, true)
    const astray = info(CAPS, 0n, capability(2, [0, 0]))
    astray.setUint32(24 + 4, 0x1000, true)
    expect(parseContainerInfo(loop).limit).toBeUndefined()
    expect(parseContainerInfo(astray).limit).toBeUndefined()
  })
})

describe('smallestPage', () => {
  it.each([
    [0x4020_1000, 4096],
    [0x1_0000, 0x1_0000],
    [2 ** 53 - 4096, 4096],
    [2 ** 40, 2 ** 40],
  ])('of %d is %d', (sizes, smallest) => {
    expect(smallestPage(sizes)).toBe(smallest)
  })
})

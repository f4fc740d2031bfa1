/** Statements 24-37 on the virtio-iommu: MAP and UNMAP. VIRTIO 1.2 §5.13.6.5, §5.13.6.6. */
import { describe, expect, it } from 'vitest'
import { Access } from '../../../src/memory/dma-space.ts'
import {
  type Address,
  DISK,
  type IommuDeviceOptions,
  iommuDevice,
  MSI,
  mapRequest,
  NET,
  unmapRequest,
  withByte,
} from '../../support/iommu-device.ts'

const [OK, INVAL, RANGE, NOENT, NOMEM] = [0, 4, 5, 6, 8]
const [READ, WRITE, MMIO] = [1, 2, 4]
const PAGE = 0x1000
const MAP_UNMAP = 4n

const answered = (status: number) => ({ status, written: 4, tail: Uint8Array.of(status, 0, 0, 0) })

/** A device with the disk in domain 1 and the network in the bypass domain 2. */
function setUp(options: IommuDeviceOptions = {}) {
  const bench = iommuDevice(options)
  bench.attach(1, DISK)
  bench.attach(2, NET, 1)
  return bench
}

describe('VirtioIommu, MAP', () => {
  it.each([
    ['a page', 0x1000, 0x1fff, 0xa000],
    ['the first page', 0, 0xfff, 0xa000],
    ['the last page of the range', 2 ** 48 - PAGE, 2 ** 48 - 1, 0],
    ['4 GiB', 2 ** 32, 2 ** 33 - 1, 0],
    ['all of the range', 0x10_0000_0000, 2 ** 48 - 1, 0],
    ['to the end of physical memory', 0, 0xfff, 2 ** 52 - PAGE],
  ])('maps %s', (_, start, end, phys) => {
    const bench = setUp()
    expect(bench.map(1, start, end, phys, READ)).toMatchObject(answered(OK))
    expect(bench.mappings(1)).toEqual([[start, end, phys, READ]])
  })

  it.each([
    ['virt_start', 0x1001, 0x2fff, 0xa000],
    ['virt_start by half a page', 0x1800, 0x2fff, 0xa000],
    ['phys_start', 0x1000, 0x1fff, 0xa800],
    ['virt_end + 1', 0x1000, 0x1ffe, 0xa000],
    ['virt_end + 1, as virt_end is virt_start', 0x1000, 0x1000, 0xa000],
  ])('24: is RANGE when %s is not aligned', (_, start, end, phys) => {
    const bench = setUp()
    expect(bench.map(1, start, end, phys, READ)).toMatchObject(answered(RANGE))
    expect(bench.mappings(1)).toEqual([])
  })

  it.each([
    ['virt_start', 0x1000, 0x1_ffff, 0],
    ['virt_end + 1', 0, 0xfff, 0],
    ['phys_start', 0, 0xffff, 0x1000],
  ])('24: is RANGE when %s is not aligned to a granule of 64 KiB', (_, start, end, phys) => {
    const bench = setUp({ granule: 0x1_0000 })
    expect(bench.map(1, start, end, phys, READ)).toMatchObject(answered(RANGE))
    expect(bench.mappings(1)).toEqual([])
  })

  it.each([
    ['the same range', 0x1000, 0x2fff],
    ['its start', 0, 0x1fff],
    ['its end', 0x2000, 0x3fff],
    ['a part inside', 0x2000, 0x2fff],
    ['more on both sides', 0, 0x3fff],
  ])('25: is INVAL over a mapping: %s', (_, start, end) => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x2fff, 0xa000, READ)
    expect(bench.map(1, start, end, 0xb000, WRITE)).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toEqual([[0x1000, 0x2fff, 0xa000, READ]])
  })

  it('25: is fine beside mappings, and in another domain', () => {
    const bench = setUp()
    bench.attach(3, NET)
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.map(1, 0x2000, 0x2fff, 0xb000, READ)).toMatchObject(answered(OK))
    expect(bench.map(1, 0, 0xfff, 0x9000, READ)).toMatchObject(answered(OK))
    expect(bench.map(3, 0x1000, 0x1fff, 0xc000, READ)).toMatchObject(answered(OK))
    expect([bench.mappings(1).length, bench.mappings(3).length]).toEqual([3, 1])
  })

  it.each([8, 9, 0x100, 0x8000_0003])('26: is INVAL with flags %i', flags => {
    const bench = setUp()
    expect(bench.map(1, 0x1000, 0x1fff, 0xa000, flags)).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toEqual([])
  })

  it.each([
    ['not negotiated', { features: MAP_UNMAP }],
    ['not on offer', { mmio: false }],
  ])('26: is INVAL with the MMIO flag when that is %s', (_, options) => {
    const bench = setUp(options)
    expect(bench.map(1, 0x1000, 0x1fff, 0xa000, READ | MMIO)).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toEqual([])
  })

  it.each([1, 2, 3, 5, 6, 7])('26: keeps the flags %i', flags => {
    const bench = setUp()
    expect(bench.map(1, 0x1000, 0x1fff, 0xa000, flags)).toMatchObject(answered(OK))
    expect(bench.mappings(1)).toEqual([[0x1000, 0x1fff, 0xa000, flags]])
  })

  it('27: is NOENT in a domain that does not exist', () => {
    const bench = setUp()
    expect(bench.map(3, 0x1000, 0x1fff, 0xa000, READ)).toMatchObject(answered(NOENT))
    expect(bench.domains).toEqual([
      [1, [DISK]],
      [2, [NET]],
    ])
  })

  it('28: is INVAL in a bypass domain', () => {
    const bench = setUp()
    expect(bench.map(2, 0x1000, 0x1fff, 0xa000, READ)).toMatchObject(answered(INVAL))
    expect(bench.mappings(2)).toEqual([])
    expect(bench.translate(NET, 0x1000, Access.read)).toBe(0x1000)
  })

  it.each([
    [0, [false, false]],
    [READ, [true, false]],
    [WRITE, [false, true]],
    [READ | WRITE, [true, true]],
  ])('29: with flags %i, reads and writes are allowed: %j', (flags, allowed) => {
    const bench = setUp()
    expect(bench.map(1, 0x1000, 0x1fff, 0xa000, flags)).toMatchObject(answered(OK))
    expect([Access.read, Access.write].map(access => bench.canReach(DISK, 0x1000, access))).toEqual(allowed)
    expect(bench.canReach(DISK, 0x1000, Access.read | Access.write)).toBe(allowed[0] && allowed[1])
  })

  it.each([
    ['its first page', MSI.start - PAGE, MSI.start + 0xfff],
    ['its last page', MSI.end - 0xfff, MSI.end + PAGE],
    ['a page in it', MSI.start + PAGE, MSI.start + 0x1fff],
    ['all of it', 0, 2 ** 32 - 1],
  ])('30: is INVAL over a reserved region of an endpoint in the domain: %s', (_, start, end) => {
    const bench = setUp()
    expect(bench.map(1, start, end, 0, READ)).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toEqual([])
  })

  it('30: is fine beside the region, and over regions of endpoints elsewhere', () => {
    const endpoints = [
      { id: DISK, name: 'disk0', reserved: [{ kind: 'reserved', start: 0x2000, end: 0x2fff }] },
      { id: NET, name: 'net0', reserved: [MSI] },
    ] as const
    const bench = setUp({ endpoints })
    expect(bench.map(1, 0x1000, 0x1fff, 0, READ)).toMatchObject(answered(OK))
    expect(bench.map(1, 0x3000, 0x3fff, 0, READ)).toMatchObject(answered(OK))
    expect(bench.map(1, MSI.start, MSI.end, 0, READ)).toMatchObject(answered(OK))
    expect(bench.map(1, 0x2000, 0x2fff, 0, READ)).toMatchObject(answered(INVAL))
  })

  it.each<[string, Address, Address]>([
    ['in front of it', 0x1000, 0x1fff],
    ['over its start', 0x1000, 0x2fff],
    ['over its end', 0xf000, 0x1_0fff],
    ['behind it', 0x1_0000, 0x1_0fff],
    ['over all', 0x1000, 0x1_0fff],
    ['at the end of all addresses', 2n ** 64n - 0x1000n, 2n ** 64n - 1n],
    ['to the end of all addresses', 0x2000, 2n ** 64n - 1n],
    ['at 2^53', 2n ** 53n, 2n ** 53n + 0xfffn],
  ])('31: is RANGE outside of the input range: %s', (_, start, end) => {
    const bench = setUp({ input: { start: 0x2000, end: 0xffff } })
    expect(bench.map(1, start, end, 0xa000, READ)).toMatchObject(answered(RANGE))
    expect(bench.mappings(1)).toEqual([])
  })

  it.each<[string, Address, Address, Address]>([
    ['ends before it starts', 0x2000, 0xfff, 0],
    ['leads behind physical memory', 0x1000, 0x2fff, 2 ** 52 - PAGE],
    ['leads to the end of all addresses', 0x1000, 0x1fff, 2n ** 64n - 0x1000n],
  ])('is INVAL when it %s', (_, start, end, phys) => {
    const bench = setUp()
    expect(bench.map(1, start, end, phys, READ)).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toEqual([])
  })

  it('is NOMEM when the domain is full, until a mapping goes', () => {
    const bench = setUp({ limits: { domain: 2, total: 3 } })
    bench.map(1, 0, 0xfff, 0, READ)
    bench.map(1, 0x1000, 0x1fff, 0, READ)
    expect(bench.map(1, 0x2000, 0x2fff, 0, READ)).toMatchObject(answered(NOMEM))
    expect(bench.mappings(1)).toHaveLength(2)
    bench.unmap(1, 0, 0xfff)
    expect(bench.map(1, 0x2000, 0x2fff, 0, READ)).toMatchObject(answered(OK))
  })
})

describe('VirtioIommu, UNMAP', () => {
  it.each([24, 25, 26, 27])('32: is INVAL with byte %i, a reserved one, set, and removes nothing', offset => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.send(withByte(unmapRequest(1, 0x1000, 0x1fff), offset, 1))).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toHaveLength(1)
  })

  it('33: is NOENT in a domain that does not exist', () => {
    expect(setUp().unmap(3, 0, 0xfff)).toMatchObject(answered(NOENT))
  })

  it('34: is INVAL in a bypass domain', () => {
    const bench = setUp()
    expect(bench.unmap(2, 0, 0xfff)).toMatchObject(answered(INVAL))
    expect(bench.translate(NET, 0x1000, Access.read)).toBe(0x1000)
  })

  it.each([
    ['the first one', 0x2000, 0x6fff],
    ['the last one', 0x1000, 0x5fff],
    ['both', 0x2000, 0x5fff],
    ['one from inside', 0x2000, 0x2fff],
    ['one by a single byte', 0x1000, 0x2ffe],
  ])('35: is RANGE when it would split %s of the mappings, and removes none', (_, start, end) => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x2fff, 0xa000, READ)
    bench.map(1, 0x3000, 0x4fff, 0xc000, WRITE)
    bench.map(1, 0x5000, 0x6fff, 0xe000, READ)
    expect(bench.unmap(1, start, end)).toMatchObject(answered(RANGE))
    expect(bench.mappings(1)).toHaveLength(3)
    expect(bench.translate(DISK, 0x4abc, Access.write)).toBe(0xdabc)
  })

  it.each<[string, Address, Address]>([
    ['between', 0x1000, 0x5fff],
    ['around', 0, 0xf_ffff],
    ['of the rest of all addresses', 0, 2n ** 64n - 1n],
    ['of odd bytes', 0xfff, 0x6001],
  ])('36: does not mind gaps %s', (_, start, end) => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.map(1, 0x5000, 0x5fff, 0xb000, READ)
    expect(bench.unmap(1, start, end)).toMatchObject(answered(OK))
    expect(bench.mappings(1)).toEqual([])
    expect(bench.canReach(DISK, 0x1000, Access.read)).toBe(false)
  })

  it('36: removes what is in the range and nothing beside it', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.map(1, 0x2000, 0x2fff, 0xb000, READ)
    bench.map(1, 0x3000, 0x3fff, 0xc000, READ)
    expect(bench.unmap(1, 0x2000, 0x2fff)).toMatchObject(answered(OK))
    expect(bench.mappings(1).map(([start]) => start)).toEqual([0x1000, 0x3000])
  })

  // The letters are the specification's; a unit of its examples is a page.
  it.each([
    ['(1) a blank space', [], [0, 4], OK, []],
    ['(2) a whole mapping', [[0, 9]], [0, 9], OK, []],
    [
      '(3) two whole mappings',
      [
        [0, 4],
        [5, 9],
      ],
      [0, 9],
      OK,
      [],
    ],
    ['(4) a part of a mapping', [[0, 9]], [0, 4], RANGE, [[0, 9]]],
    [
      '(5) one of two mappings',
      [
        [0, 4],
        [5, 9],
      ],
      [0, 4],
      OK,
      [[5, 9]],
    ],
    ['(6) a mapping and what follows', [[0, 4]], [0, 9], OK, []],
    [
      '(7) two mappings and what lies between',
      [
        [0, 4],
        [10, 14],
      ],
      [0, 14],
      OK,
      [],
    ],
  ] as const)('37: the specification’s example of UNMAP: %s', (_, maps, [start, end], status, left) => {
    const bench = setUp()
    const replies = maps.map(([from, to]) => bench.map(1, from * PAGE, to * PAGE + 0xfff, from * PAGE, READ).status)
    expect(replies).toEqual(maps.map(() => OK))
    expect(bench.unmap(1, start * PAGE, end * PAGE + 0xfff)).toMatchObject(answered(status))
    expect(bench.mappings(1).map(([from, to]) => [from / PAGE, (to + 1) / PAGE - 1])).toEqual(left)
  })

  it('is INVAL when it ends before it starts', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    expect(bench.unmap(1, 0x2000, 0xfff)).toMatchObject(answered(INVAL))
    expect(bench.mappings(1)).toHaveLength(1)
  })

  it('lets the range be mapped again, to something else', () => {
    const bench = setUp()
    bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
    bench.unmap(1, 0x1000, 0x1fff)
    expect(bench.send(mapRequest(1, 0x1000, 0x1fff, 0xb000, WRITE))).toMatchObject(answered(OK))
    expect(bench.translate(DISK, 0x1001, Access.write)).toBe(0xb001)
  })
})

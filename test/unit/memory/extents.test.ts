import { describe, expect, it } from 'vitest'
import { Extents, IOVEC_SIZE } from '../../../src/memory/extents.ts'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'

const FIRST_HOST = 0x7f00_0000_0000
const SECOND_HOST = 0x1234_5000

/** Two windows of 256 bytes, at 0x1000 and at 4 GiB; each byte is its offset. */
function memory(): GuestMemory {
  const bytes = () => new Uint8Array(256).map((_, i) => i)
  return new GuestMemory([
    { start: 0x1000, bytes: bytes(), hostAddress: FIRST_HOST },
    { start: 2 ** 32, bytes: bytes(), hostAddress: SECOND_HOST },
  ])
}

/** Bytes 10-19 of the first window, 100-102 of the second and 30-129 of the first: 113 in all. */
function threeExtents(): Extents {
  const extents = new Extents(memory())
  extents.add(0x1000 + 10, 10)
  extents.add(2 ** 32 + 100, 3)
  extents.add(0x1000 + 30, 100)
  return extents
}

/** The bytes of `threeExtents`. */
const BYTES = [
  ...Array.from({ length: 10 }, (_, i) => 10 + i),
  ...[100, 101, 102],
  ...Array.from({ length: 100 }, (_, i) => 30 + i),
]

describe('Extents', () => {
  it.each([
    ['within the first extent', 2, 5],
    ['from one to the next', 8, 4],
    ['over all extents', 0, 113],
    ['in the last extent', 13, 100],
    ['of nothing', 5, 0],
  ])('reads bytes %s', (_, offset, length) => {
    const target = new Uint8Array(length)
    expect(threeExtents().read(offset, target)).toBe(length)
    expect([...target]).toEqual(BYTES.slice(offset, offset + length))
  })

  it('reads to a place in the target, and no more than it is told', () => {
    const target = new Uint8Array(8)
    expect(threeExtents().read(9, target, 2, 3)).toBe(3)
    expect([...target]).toEqual([0, 0, 19, 100, 101, 0, 0, 0])
  })

  it.each([
    ['starts in the buffer', 110, 3],
    ['starts at its end', 113, 0],
    ['starts behind it', 500, 0],
  ])('reads what there is when a range %s', (_, offset, count) => {
    expect(threeExtents().read(offset, new Uint8Array(50))).toBe(count)
  })

  it.each([
    ['a few bytes', 8, 4],
    ['many bytes', 8, 100],
    ['a whole large extent', 13, 100],
  ])('writes %s, and nothing beside them', (_, offset, length) => {
    const extents = threeExtents()
    expect(extents.write(offset, new Uint8Array(length).fill(0xee))).toBe(length)
    const all = new Uint8Array(113)
    extents.read(0, all)
    expect([...all]).toEqual(BYTES.map((byte, i) => (i >= offset && i < offset + length ? 0xee : byte)))
    expect(extents.memory.read(0x1000 + 20, 10)).toEqual(Uint8Array.of(20, 21, 22, 23, 24, 25, 26, 27, 28, 29))
  })

  it('writes a part of the source, as far as there is room', () => {
    const extents = threeExtents()
    expect(extents.write(111, Uint8Array.of(1, 2, 3, 4, 5), 2)).toBe(2)
    expect([extents.getUint8(110), extents.getUint8(111), extents.getUint8(112)]).toEqual([127, 3, 4])
  })

  it('fills a range, as far as there is room', () => {
    const extents = threeExtents()
    expect([extents.fill(8, 7, 4), extents.fill(110, 9, 100), extents.fill(113, 1, 1)]).toEqual([4, 3, 0])
    const all = new Uint8Array(113)
    extents.read(0, all)
    expect([...all]).toEqual([...BYTES.slice(0, 8), 7, 7, 7, 7, ...BYTES.slice(12, 110), 9, 9, 9])
  })

  it.each([
    ['in one extent', 3, 0x100f_0e0d, 0x0e0d],
    ['across two', 8, 0x6564_1312, 0x1312],
    ['across three', 9, 0x6665_6413, 0x6413],
    ['in the last bytes', 109, 0x8180_7f7e, 0x7f7e],
  ])('reads numbers %s', (_, offset, word, half) => {
    const extents = threeExtents()
    expect(extents.getUint32(offset)).toBe(word)
    expect(extents.getUint16(offset)).toBe(half)
    expect(extents.getUint8(offset)).toBe(half & 0xff)
  })

  it('reads 64 bits as one number', () => {
    const extents = threeExtents()
    extents.write(7, Uint8Array.of(1, 2, 3, 0x84, 5, 6, 7, 0))
    expect(extents.getU64(7)).toBe(0x0007_0605_8403_0201)
    extents.fill(7, 0xff, 8)
    expect(extents.getU64(7)).toBe(2 ** 64)
  })

  it.each([
    ['getUint8', 113],
    ['getUint16', 112],
    ['getUint32', 110],
    ['getU64', 106],
  ] as const)('refuses to read with %s behind the end', (method, offset) => {
    expect(() => threeExtents()[method](offset)).toThrow('the value lies in the buffer')
  })

  it('writes a byte where there is one', () => {
    const extents = threeExtents()
    expect([extents.setUint8(10, 1), extents.setUint8(112, 2), extents.setUint8(113, 3)]).toEqual([true, true, false])
    expect(extents.memory.read(2 ** 32 + 99, 3)).toEqual(Uint8Array.of(99, 1, 101))
  })

  it.each([
    [
      'everything',
      0,
      113,
      [
        [FIRST_HOST + 10, 10],
        [SECOND_HOST + 100, 3],
        [FIRST_HOST + 30, 100],
      ],
    ],
    [
      'a part',
      9,
      3,
      [
        [FIRST_HOST + 19, 1],
        [SECOND_HOST + 100, 2],
      ],
    ],
    ['nothing', 9, 0, []],
    ['what lies behind the end', 113, 5, []],
  ])('makes iovecs of %s', (_, offset, length, expected) => {
    const view = new DataView(new ArrayBuffer(8 + 3 * IOVEC_SIZE))
    const count = threeExtents().iovecs(view, 8, 3, offset, length)
    const entries = Array.from({ length: count }, (_, i) => [
      Number(view.getBigUint64(8 + i * IOVEC_SIZE, true)),
      Number(view.getBigUint64(16 + i * IOVEC_SIZE, true)),
    ])
    expect(entries).toEqual(expected)
  })

  it('refuses more iovecs than there is room for', () => {
    const view = new DataView(new ArrayBuffer(2 * IOVEC_SIZE))
    expect(() => threeExtents().iovecs(view, 0, 2)).toThrow('room for the extents')
  })

  it('visits the pieces of a range', () => {
    const pieces: number[][] = []
    threeExtents().visit(9, 5, (address, size) => pieces.push([address, size]))
    expect(pieces).toEqual([
      [0x1000 + 19, 1],
      [2 ** 32 + 100, 3],
      [0x1000 + 30, 1],
    ])
  })

  it('grows, shrinks and starts again', () => {
    const extents = new Extents(memory())
    Array.from({ length: 100 }, (_, i) => extents.add(0x1000 + i, 2))
    expect([extents.count, extents.size, extents.start(99), extents.length(99)]).toEqual([100, 200, 0x1000 + 99, 2])
    extents.truncate(40)
    expect([extents.count, extents.size]).toEqual([40, 80])
    extents.clear()
    expect([extents.count, extents.size, extents.read(0, new Uint8Array(1))]).toEqual([0, 0, 0])
  })
})

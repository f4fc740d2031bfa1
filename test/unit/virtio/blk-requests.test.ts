import { describe, expect, it } from 'vitest'
import { VirtioBlk } from '../../../src/virtio/blk.ts'
import { VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { deviceHarness } from '../../support/device-harness.ts'
import { BlkDriver, blkHeader, blkSegment } from '../../support/disk.ts'
import { MemoryDisk, type MemoryDiskOptions } from '../../support/memory-disk.ts'
import { UNTOUCHED } from '../../support/virtio-driver.ts'

const OK = 0
const IOERR = 1
const UNSUPP = 2
/** Sectors of the disk. */
const END = 64

interface Bench extends BlkDriver {
  readonly disk: MemoryDisk
}

function bench(options: MemoryDiskOptions = {}, features?: bigint): Bench {
  const disk = new MemoryDisk(options)
  const device = new VirtioBlk({ name: 'disk', backend: disk, serial: 'SN-0001', queues: 1 })
  const harness = deviceHarness(device, features === undefined ? {} : { features })
  return Object.assign(new BlkDriver(harness, () => {}), { disk })
}

/** For large arrays, which `toEqual` takes long for. */
const isSame = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0
const filled = (size: number, value = 0xab) => new Uint8Array(size).fill(value)

describe('VirtioBlk', () => {
  it('reads sectors and says how much it wrote, with the status', () => {
    const { read, disk } = bind(bench())
    expect(read(3, 1024)).toEqual({ status: OK, written: 1025, data: disk.bytes.slice(1536, 2560) })
  })

  it('writes sectors and nothing else', () => {
    const { write, disk } = bind(bench())
    const before = disk.bytes.slice()
    expect(write(2, filled(1024))).toBe(OK)
    before.set(filled(1024), 1024)
    expect(isSame(disk.bytes, before)).toBe(true)
  })

  it.each([
    ['the first sector', 0, 512],
    ['the last sector', END - 1, 512],
    ['all of the disk', 0, END * 512],
    ['nothing', 5, 0],
    ['nothing at the very end', END, 0],
  ])('reads and writes %s', (_, sector, size) => {
    const { read, write } = bind(bench())
    expect(write(sector, filled(size))).toBe(OK)
    const { status, data } = read(sector, size)
    expect(status).toBe(OK)
    expect(isSame(data, filled(size))).toBe(true)
  })

  it.each([
    ['the header in two pieces', [16 - 7, 7, 512], [1]],
    ['the header in single bytes', [...Array<number>(16).fill(1), 512], [1]],
    ['header and data in one buffer', [16 + 512], [1]],
    ['the header joined to half of the data', [16 + 100, 412], [1]],
    ['the data in uneven pieces', [16, 1, 510, 1], [1]],
  ])('writes with %s', (_, out, sizes) => {
    const { request, disk } = bind(bench())
    const whole = Buffer.concat([blkHeader(1, 7), filled(512)])
    const pieces = out.map((size, i) => whole.subarray(start(out, i), start(out, i) + size))
    expect(request({ out: pieces, in: sizes })).toMatchObject({ status: OK, written: 1 })
    expect(disk.bytes.slice(7 * 512, 8 * 512)).toEqual(filled(512))
  })

  it.each([
    ['data and status in one buffer', [513]],
    ['the status behind half of the data', [256, 257]],
    ['data in uneven pieces', [1, 300, 211, 1]],
  ])('reads with %s', (_, sizes) => {
    const { request, disk } = bind(bench())
    const answer = request({ out: [blkHeader(0, 7)], in: sizes })
    expect(answer).toEqual({ status: OK, written: 513, data: disk.bytes.slice(7 * 512, 8 * 512) })
  })

  it('reads into a buffer that crosses two windows of memory, and through packed rings', () => {
    const { request, disk } = bind(bench({}, VIRTIO_F_RING_PACKED))
    const answer = request({ out: [blkHeader(0, 1)], in: [1024, 1], place: 'crossing' })
    expect(answer.data).toEqual(disk.bytes.slice(512, 1536))
  })

  it('flushes', () => {
    const { flush, disk } = bind(bench())
    expect(flush()).toBe(OK)
    expect(disk.log).toEqual(['flush'])
  })

  it('tells its serial number, padded with zeros to 20 bytes', () => {
    const { request } = bind(bench())
    const answer = request({ out: [blkHeader(8)], in: [20, 1] })
    expect(answer).toMatchObject({ status: OK, written: 21 })
    expect(Buffer.from(answer.data).toString()).toBe(`SN-0001${'\0'.repeat(13)}`)
  })

  it('leaves the rest of a longer buffer for the serial number alone', () => {
    const answer = bind(bench()).request({ out: [blkHeader(8)], in: [30, 1] })
    expect(answer).toMatchObject({ status: OK, written: 20 })
    expect(answer.data.subarray(20)).toEqual(filled(10, UNTOUCHED))
  })

  it.each([
    ['a discard', 11, 0, 'discard 4096 8192'],
    ['zeroes', 13, 0, 'writeZeroes 4096 8192'],
    ['zeroes that may unmap', 13, 1, 'writeZeroes+unmap 4096 8192'],
  ])('hands %s to the disk', (_, type, flags, logged) => {
    const { request, disk } = bind(bench())
    expect(request({ out: [blkHeader(type), blkSegment(8, 16, flags)], in: [1] }).status).toBe(OK)
    expect(disk.log).toEqual([logged])
  })

  it('has nothing to do for a segment without sectors', () => {
    const { discard, disk } = bind(bench())
    expect(discard(END, 0)).toBe(OK)
    expect(disk.log).toEqual([])
  })

  it.each([
    ['a read behind the end', IOERR, [blkHeader(0, END)], [512, 1]],
    ['a read over the end', IOERR, [blkHeader(0, END - 1)], [1024, 1]],
    ['a read at the largest sector number', IOERR, [blkHeader(0, Number.MAX_SAFE_INTEGER)], [512, 1]],
    ['nothing read behind the end', IOERR, [blkHeader(0, END + 1)], [1]],
    ['a read of half a sector', IOERR, [blkHeader(0)], [256, 1]],
    ['a read of a sector and a byte', IOERR, [blkHeader(0)], [513, 1]],
    ['a write behind the end', IOERR, [blkHeader(1, END), filled(512)], [1]],
    ['a write over the end', IOERR, [blkHeader(1, END - 1), filled(1024)], [1]],
    ['a write of half a sector', IOERR, [blkHeader(1), filled(256)], [1]],
    ['no header', IOERR, [], [1]],
    ['a header of 15 bytes', IOERR, [filled(15, 0)], [512, 1]],
    ['a serial number into 19 bytes', IOERR, [blkHeader(8)], [19, 1]],
    ['an unknown type', UNSUPP, [blkHeader(2)], [512, 1]],
    ['the largest type', UNSUPP, [blkHeader(0xffffffff)], [1]],
    ['a secure erase', UNSUPP, [blkHeader(14), blkSegment(0, 8)], [1]],
    ['a discard without a segment', IOERR, [blkHeader(11)], [1]],
    ['a discard with half a segment', IOERR, [blkHeader(11), filled(8, 0)], [1]],
    ['a discard with two segments', UNSUPP, [blkHeader(11), blkSegment(0, 8), blkSegment(8, 8)], [1]],
    ['a discard that unmaps', UNSUPP, [blkHeader(11), blkSegment(0, 8, 1)], [1]],
    ['a discard with an unknown flag', UNSUPP, [blkHeader(11), blkSegment(0, 8, 2)], [1]],
    ['a discard with the highest flag', UNSUPP, [blkHeader(11), blkSegment(0, 8, 0x80000000)], [1]],
    ['a discard over the end', IOERR, [blkHeader(11), blkSegment(END - 1, 2)], [1]],
    ['a discard behind the end', IOERR, [blkHeader(11), blkSegment(END + 1, 0)], [1]],
    ['zeroes with an unknown flag', UNSUPP, [blkHeader(13), blkSegment(0, 8, 3)], [1]],
    ['zeroes over the end', IOERR, [blkHeader(13), blkSegment(1, END)], [1]],
    ['more zeroes than the limit', IOERR, [blkHeader(13), blkSegment(0, 0xffffffff)], [1]],
  ])('answers %s with status %d and goes on', (_, status, out, sizes) => {
    const { request, read, disk, harness } = bind(bench())
    const before = disk.bytes.slice()
    const answer = request({ out, in: sizes })
    expect(answer.status).toBe(status)
    expect(answer.data).toEqual(filled(answer.data.length, UNTOUCHED))
    expect(answer.written).toBeLessThanOrEqual(1)
    expect(isSame(disk.bytes, before)).toBe(true)
    expect(disk.log).toEqual([])
    expect(harness.logged).toHaveLength(1)
    expect(harness.resetReasons).toEqual([])
    expect(read(0, 512).status).toBe(OK)
  })

  it.each([
    ['a write', [blkHeader(1), filled(512)]],
    ['a discard', [blkHeader(11), blkSegment(0, 8)]],
    ['zeroes', [blkHeader(13), blkSegment(0, 8)]],
  ])('refuses %s on a read-only disk', (_, out) => {
    const { request, disk } = bind(bench({ readOnly: true }))
    expect(request({ out, in: [1] }).status).toBe(IOERR)
    expect(disk.log).toEqual([])
  })

  it.each([
    ['an odd sector', 1, 4096],
    ['an odd size', 0, 4096 + 512],
  ])('refuses %s where the disk has larger blocks', (_, sector, size) => {
    const { read, disk } = bind(bench({ alignment: 4096 }))
    expect(read(sector, size).status).toBe(IOERR)
    expect(disk.log).toEqual([])
    expect(read(8, 4096).status).toBe(OK)
  })

  it('needs a reset after a request that no answer fits in, and gives its buffers back', () => {
    const { harness } = bind(bench())
    harness.send(0, { out: [blkHeader(0)] })
    expect(harness.resetReasons).toEqual(['queue 0: a request has no room for a status'])
    expect(harness.receive(0).written).toBe(0)
  })

  it.each([
    ['a read', [blkHeader(0)], [512, 1]],
    ['a write', [blkHeader(1), filled(512)], [1]],
    ['a flush', [blkHeader(4)], [1]],
    ['zeroes', [blkHeader(13), blkSegment(0, 8)], [1]],
  ])('answers %s that the host cannot do with an I/O error', (_, out, sizes) => {
    const { request, disk, harness } = bind(bench())
    disk.errno = 5
    expect(request({ out, in: sizes }).status).toBe(IOERR)
    expect(harness.device.statistics).toMatchObject({ errors: 1 })
  })
})

function start(sizes: readonly number[], index: number): number {
  return sizes.slice(0, index).reduce((sum, size) => sum + size, 0)
}

/** The methods as functions. */
function bind(bench: Bench) {
  return {
    disk: bench.disk,
    harness: bench.harness,
    request: bench.request.bind(bench),
    read: bench.read.bind(bench),
    write: bench.write.bind(bench),
    flush: bench.flush.bind(bench),
    discard: bench.discard.bind(bench),
  }
}

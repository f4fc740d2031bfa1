import { describe, expect, it } from 'vitest'
import { VirtioBalloon } from '../../../src/virtio/balloon.ts'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { DeferredTasks } from '../../support/deferred-tasks.ts'
import { type DeviceHarness, deviceHarness } from '../../support/device-harness.ts'
import { repeat } from '../../support/repeat.ts'
import { HIGH_START } from '../../support/virtio-memory.ts'

const STATS_VQ = 1n << 1n
const DEFLATE_ON_OOM = 1n << 2n
const PAGE_POISON = 1n << 4n
const REPORTING = 1n << 5n

const INFLATE = 0
const DEFLATE = 1
const STATS = 2
/** Linux's number for the reporting queue with statistics, the specification's, and Linux's without. */
const REPORTING_QUEUES = [3, 4, 2] as const

const ACTUAL = 4
const POISON_VAL = 12
const PAGE = 4096
/** Page number of the second window's first page, and of the high window's. */
const WINDOW_PFN = 1024
const HIGH_PFN = HIGH_START / PAGE

function setUp(features?: bigint, deflateOnOom = true) {
  const discarded: [number, number][] = []
  const actual: number[] = []
  const tasks = new DeferredTasks()
  const device = new VirtioBalloon({
    name: 'balloon',
    memory: { discard: (start, size) => void discarded.push([start, size]) },
    deflateOnOom,
    defer: tasks.defer,
    onActual: mib => actual.push(mib),
  })
  const harness = deviceHarness(device, features === undefined ? {} : { features })
  return { discarded, actual, tasks, device, harness }
}

const pfns = (...numbers: number[]) => new Uint8Array(Uint32Array.from(numbers).buffer)

function stats(...entries: [tag: number, low: number, high: number][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(entries.length * 10))
  for (const [i, [tag, low, high]] of entries.entries()) {
    view.setUint16(i * 10, tag, true)
    view.setUint32(i * 10 + 2, low, true)
    view.setUint32(i * 10 + 6, high, true)
  }
  return new Uint8Array(view.buffer)
}

/** Lends a buffer of `size` bytes at `address` that the test has not allocated, as a driver reports free pages. */
function report(harness: DeviceHarness, queue: number, address: number, size: number): number {
  const driver = harness.driver(queue)
  driver.ring.add([{ address, length: size, write: true }], undefined)
  driver.kick()
  return driver.ring.take()!.written
}

describe('VirtioBalloon', () => {
  it('offers to deflate on out of memory only where that was asked for', () => {
    expect(setUp(undefined, true).device.features & DEFLATE_ON_OOM).toBe(DEFLATE_ON_OOM)
    expect(setUp(undefined, false).device.features & DEFLATE_ON_OOM).toBe(0n)
  })

  it.each([
    [
      'ascending',
      pfns(5, 6, 7, 20, 21),
      [
        [5 * PAGE, 3 * PAGE],
        [20 * PAGE, 2 * PAGE],
      ],
    ],
    ['descending', pfns(7, 6, 5), [[5 * PAGE, 3 * PAGE]]],
    ['mixed and doubled', pfns(9, 7, 8, 7, 9), [[7 * PAGE, 3 * PAGE]]],
    ['the first page', pfns(0, 1), [[0, 2 * PAGE]]],
    ['over two windows of memory', pfns(WINDOW_PFN - 1, WINDOW_PFN), [[(WINDOW_PFN - 1) * PAGE, 2 * PAGE]]],
    [
      'above 4 GiB',
      pfns(HIGH_PFN, 3),
      [
        [3 * PAGE, PAGE],
        [HIGH_START, PAGE],
      ],
    ],
    ['nothing', pfns(), []],
  ])('discards the pages of a list that is %s, in runs', (_, list, runs) => {
    const { discarded, harness } = setUp()
    expect(harness.request(INFLATE, { out: [list] }).written).toBe(0)
    expect(discarded).toEqual(runs)
    expect(harness.logged).toEqual([])
  })

  it('discards pages listed in several buffers, cut in the middle of a number', () => {
    const { discarded, harness } = setUp()
    const list = pfns(1, 2, 3)
    harness.request(INFLATE, { out: [list.subarray(0, 6), list.subarray(6)] })
    expect(discarded).toEqual([[PAGE, 3 * PAGE]])
  })

  it.each([
    ['behind RAM', [3 * WINDOW_PFN]],
    ['between RAM', [2 * WINDOW_PFN]],
    ['behind all of it', [HIGH_PFN + WINDOW_PFN]],
    ['at the last number', [0xffff_ffff]],
  ])('ignores pages %s, and goes on with the others', (_, strays) => {
    const { discarded, harness } = setUp()
    harness.request(INFLATE, { out: [pfns(4, ...strays, 5)] })
    expect(discarded).toEqual([[4 * PAGE, 2 * PAGE]])
    expect(harness.logged).toHaveLength(1)
  })

  it.each([
    ['three bytes', new Uint8Array(3), 0],
    ['a number and a half', new Uint8Array([1, 0, 0, 0, 2, 0]), 1],
    [
      'more numbers than it looks at',
      new Uint8Array(Uint32Array.from({ length: 2 ** 13 + 4 }, (_, i) => i % 64).buffer),
      8,
    ],
  ])('takes %s as what it comes to', (_, list, discards) => {
    const { discarded, harness } = setUp()
    harness.request(INFLATE, { out: [list] })
    expect(discarded).toHaveLength(discards)
    expect(harness.logged).toHaveLength(1)
  })

  it('does nothing to pages that come back', () => {
    const { discarded, device, harness } = setUp()
    expect(harness.request(DEFLATE, { out: [pfns(1, 2)], in: [4] }).written).toBe(0)
    expect(discarded).toEqual([])
    expect(device.statistics.deflatedPages).toBe(2)
  })

  it('asks for pages at run time, and tells how many there are', () => {
    const { actual, device, harness } = setUp()
    device.setTarget(3)
    expect(device.targetMiB).toBe(3)
    expect(new DataView(device.config.buffer).getUint32(0, true)).toBe(768)
    expect(harness.configChanges).toBe(1)
    device.writeConfig(ACTUAL, 4, 512)
    expect(device.actualMiB).toBe(2)
    expect(actual).toEqual([2])
  })

  it('takes no other write to its configuration', () => {
    const { actual, device } = setUp()
    device.writeConfig(0, 4, 1)
    device.writeConfig(ACTUAL, 2, 1)
    device.writeConfig(8, 4, 1)
    expect([...device.config]).toEqual(new Array(16).fill(0))
    expect(actual).toEqual([])
  })

  it('is empty after a reset, and keeps its target', () => {
    const { device, harness } = setUp()
    device.setTarget(3)
    device.writeConfig(ACTUAL, 4, 512)
    device.writeConfig(POISON_VAL, 4, 0xaa)
    expect(harness.reset()).toBe(true)
    expect(device.actualMiB).toBe(0)
    expect(device.targetMiB).toBe(3)
    expect(new DataView(device.config.buffer).getUint32(POISON_VAL, true)).toBe(0)
  })

  it('gives other devices their turn in a long run', () => {
    const { discarded, tasks, harness } = setUp()
    repeat(40, i => harness.driver(INFLATE).add({ out: [pfns(i * 2)] }))
    harness.driver(INFLATE).kick()
    expect(discarded).toHaveLength(32)
    tasks.runAll()
    expect(discarded).toHaveLength(40)
  })

  it('gives other devices their turn after many discards', () => {
    const { discarded, tasks, harness } = setUp()
    // Each thousand numbers come to 512 single pages.
    const scattered = pfns(...Array.from({ length: 2 ** 13 }, (_, i) => (2 * i) % WINDOW_PFN))
    repeat(3, () => harness.driver(INFLATE).add({ out: [scattered] }))
    harness.driver(INFLATE).kick()
    expect(discarded).toHaveLength(2 * 8 * 512)
    tasks.runAll()
    expect(discarded).toHaveLength(3 * 8 * 512)
  })

  it('has one turn to come, however often the driver notifies', () => {
    const { tasks, harness } = setUp()
    const flood = () => {
      repeat(40, i => harness.driver(INFLATE).add({ out: [pfns(i)] }))
      harness.driver(INFLATE).kick()
    }
    repeat(3, flood)
    expect(tasks.count).toBe(1)
  })
})

describe('VirtioBalloon statistics', () => {
  it('come when they are asked for, by their names', () => {
    const { device, harness } = setUp()
    const told: unknown[] = []
    harness.send(STATS, { out: [stats([4, 1, 0])] })
    expect(harness.driver(STATS).poll()).toBeUndefined()
    expect(device.requestStatistics(statistics => told.push(statistics))).toBe(true)
    expect(harness.driver(STATS).poll()).toMatchObject({ written: 0 })
    expect(told).toEqual([])
    harness.send(STATS, { out: [stats([4, 4096, 1], [0, 7, 0], [999, 1, 0], [10, 2, 0])] })
    expect(told).toEqual([{ 'stat-free-memory': 2 ** 32 + 4096, 'stat-swap-in': 7, 'stat-oom-kills': 2 }])
    expect(harness.driver(STATS).poll()).toBeUndefined()
  })

  it.each([
    ['split', VIRTIO_F_RING_EVENT_IDX],
    ['packed', VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_PACKED],
  ])('come from a driver that notifies only when the event index of a %s ring asks for it', (_, features) => {
    const { device, harness } = setUp(STATS_VQ | features)
    const told: unknown[] = []
    harness.send(STATS, { out: [stats([4, 1, 0])] })
    device.requestStatistics(statistics => told.push(statistics))
    harness.driver(STATS).poll()
    harness.send(STATS, { out: [stats([4, 2, 0])] })
    device.requestStatistics(statistics => told.push(statistics))
    harness.driver(STATS).poll()
    harness.send(STATS, { out: [stats([4, 3, 0])] })
    expect(told).toEqual([{ 'stat-free-memory': 2 }, { 'stat-free-memory': 3 }])
  })

  it('go to everybody who waits, and once', () => {
    const { device, harness } = setUp()
    const told: string[] = []
    device.requestStatistics(() => told.push('first'))
    device.requestStatistics(() => told.push('second'))
    harness.send(STATS, { out: [stats()] })
    expect(told).toEqual(['first', 'second'])
    device.requestStatistics(() => told.push('third'))
    harness.driver(STATS).poll()
    harness.send(STATS, { out: [stats()] })
    expect(told).toEqual(['first', 'second', 'third'])
  })

  it.each([
    ['nothing', new Uint8Array(0), {}],
    ['part of an entry', stats([0, 1, 0]).subarray(0, 9), {}],
    ['an entry and a part', Uint8Array.of(...stats([1, 5, 0]), 1, 2, 3), { 'stat-swap-out': 5 }],
    ['too many entries', new Uint8Array(100_000), { 'stat-swap-in': 0 }],
    ['the largest value', stats([5, 0xffff_ffff, 0xffff_ffff]), { 'stat-total-memory': 2 ** 64 }],
  ])('are what is there in a buffer with %s', (_, buffer, expected) => {
    const { device, harness } = setUp()
    const told: unknown[] = []
    device.requestStatistics(statistics => told.push(statistics))
    harness.send(STATS, { out: [buffer] })
    expect(told).toEqual([expected])
  })

  it('are refused without a driver that has them', () => {
    expect(setUp(REPORTING).device.requestStatistics(() => {})).toBe(false)
    const { device, harness } = setUp()
    harness.reset()
    expect(device.requestStatistics(() => {})).toBe(false)
  })

  it('go to the 16 latest of those who wait', () => {
    const { device, harness } = setUp()
    const told: number[] = []
    repeat(20, i => device.requestStatistics(() => told.push(i)))
    harness.send(STATS, { out: [stats()] })
    expect(told).toEqual(Array.from({ length: 16 }, (_, i) => i + 4))
  })

  it('use no buffer of before a reset', () => {
    const { device, harness } = setUp()
    harness.send(STATS, { out: [stats()] })
    harness.reset()
    harness.activate()
    device.requestStatistics(() => {})
    expect(harness.driver(STATS).poll()).toBeUndefined()
    expect(harness.resetReasons).toEqual([])
  })
})

describe('VirtioBalloon free page reporting', () => {
  it.each([
    [REPORTING_QUEUES[0], STATS_VQ],
    [REPORTING_QUEUES[1], STATS_VQ],
    [REPORTING_QUEUES[2], 0n],
  ])('takes reports in queue %d', (queue, others) => {
    const { discarded, harness } = setUp(REPORTING | others)
    expect(report(harness, queue, 0x10_0000, 0x20_0000)).toBe(0)
    expect(discarded).toEqual([[0x10_0000, 0x20_0000]])
  })

  it.each([
    ['inside a page', 0x1800, 0x400, []],
    ['over the edge of a page', 0x1800, 0x1000, []],
    ['around a page', 0x1800, 0x2000, [[0x2000, 0x1000]]],
    [
      'over two windows of memory',
      0x3f_f000,
      0x2000,
      [
        [0x3f_f000, 0x1000],
        [0x40_0000, 0x1000],
      ],
    ],
  ])('discards the whole pages of a buffer %s', (_, address, size, runs) => {
    const { discarded, harness } = setUp()
    report(harness, 3, address, size)
    expect(discarded).toEqual(runs)
  })

  it('discards nothing of a driver that wants another value in its pages', () => {
    const { discarded, device, harness } = setUp()
    device.writeConfig(POISON_VAL, 4, 0xaa)
    report(harness, 3, 0x10_0000, 0x1000)
    device.writeConfig(POISON_VAL, 4, 0)
    report(harness, 3, 0x20_0000, 0x1000)
    expect(discarded).toEqual([[0x20_0000, 0x1000]])
  })

  it('looks at the poison only where that was negotiated', () => {
    const { discarded, device, harness } = setUp(REPORTING | STATS_VQ)
    device.writeConfig(POISON_VAL, 4, 0xaa)
    report(harness, 3, 0x10_0000, 0x1000)
    expect(discarded).toHaveLength(1)
  })

  it('discards nothing where it was not negotiated', () => {
    const { discarded, harness } = setUp(STATS_VQ | PAGE_POISON)
    report(harness, 3, 0x10_0000, 0x1000)
    expect(discarded).toEqual([])
  })

  it('discards nothing that the device may only read', () => {
    const { discarded, harness } = setUp()
    harness.request(3, { out: [new Uint8Array(0x4000)] })
    expect(discarded).toEqual([])
  })

  it('breaks the queue at a buffer that is not RAM', () => {
    const { discarded, harness } = setUp()
    harness.driver(3).ring.add([{ address: 0x5000_0000, length: 0x1000, write: true }], undefined)
    harness.driver(3).kick()
    expect(discarded).toEqual([])
    expect(harness.resetReasons).toHaveLength(1)
  })
})

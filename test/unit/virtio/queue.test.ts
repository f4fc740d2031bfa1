import { describe, expect, it } from 'vitest'
import { Access } from '../../../src/memory/dma-space.ts'
import type { Chain } from '../../../src/virtio/queue.ts'
import { addMany, echo, echoMany, popMany, pushMany, readAll } from '../../support/echo-queue.ts'
import { PAGE_SIZE, PagedSpace } from '../../support/paged-space.ts'
import { runQueueModel } from '../../support/queue-model.ts'
import { VirtioDriver } from '../../support/virtio-driver.ts'
import { HIGH_START, VirtioMemory } from '../../support/virtio-memory.ts'

const LAYOUTS = [
  { layout: 'split', packed: false },
  { layout: 'packed', packed: true },
]
const KINDS = LAYOUTS.flatMap(({ layout, packed }) => [
  { kind: layout, packed, eventIdx: false },
  { kind: `${layout} with EVENT_IDX`, packed, eventIdx: true },
])

/** Rings and buffers at 0x100000 and above, in pages that lie in memory in no order and in three windows. */
function scatteredDriver(packed: boolean, size: number): { driver: VirtioDriver; space: PagedSpace } {
  const memory = new VirtioMemory()
  const space = new PagedSpace(memory.memory)
  const pages = Array.from({ length: 16 }, (_, i) =>
    i % 3 === 0 ? HIGH_START + i * PAGE_SIZE : memory.windowBytes + (i % 2 === 0 ? i : -i) * PAGE_SIZE,
  )
  space.map(0x10_0000, pages)
  // Used elements of a split queue lie across page ends.
  const areas = { desc: 0x10_0000, driver: 0x10_6000 - 4, device: 0x10_9000 - 8 }
  space.map(0x1000, [0x1000, 0x2000, 0x3000])
  return { driver: new VirtioDriver({ packed, size, space, memory, areas, eventIdx: true }), space }
}

describe.each(KINDS)('VirtQueue, $kind', ({ packed, eventIdx }) => {
  it.each([
    ['in descriptors of the queue', false],
    ['in an indirect table', true],
  ])('hands out the buffers of a chain %s, and takes the answer', (_, indirect) => {
    const driver = new VirtioDriver({ packed, eventIdx, indirect })
    const token = driver.add({ out: [Uint8Array.of(1, 2), Uint8Array.of(3)], in: [2, 4], indirect })
    const [chain] = popMany(driver, 2)
    expect([chain?.readable.size, chain?.readable.count, chain?.writable.size]).toEqual([3, 2, 6])
    expect(readAll([chain as Chain])).toEqual([[1, 2, 3]])
    chain?.writable.write(0, Uint8Array.of(7, 8, 9))
    driver.queue.push(chain as Chain, 3)
    driver.queue.flush()
    expect(driver.poll()).toEqual({
      token,
      written: 3,
      in: [Uint8Array.of(7, 8), Uint8Array.of(9, 0xee, 0xee, 0xee)],
    })
  })

  it('takes a buffer that crosses windows of memory', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    driver.add({ out: [Uint8Array.of(1, 2, 3, 4)], in: [4], place: 'crossing' })
    const [chain] = popMany(driver, 1)
    expect(chain?.readable.count).toBe(2)
    expect(readAll([chain as Chain])).toEqual([[1, 2, 3, 4]])
  })

  it('skips buffers of no length', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    driver.add({ out: [new Uint8Array(0), Uint8Array.of(5)], in: [0, 3, 0] })
    const [chain] = popMany(driver, 1)
    expect([chain?.readable.count, chain?.writable.count]).toEqual([1, 1])
    expect(driver.broken).toEqual([])
  })

  it('has nothing before the driver adds something', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    expect(driver.queue.hasAvailable).toBe(false)
    expect(popMany(driver, 1)).toEqual([])
    addMany(driver, 1)
    expect(driver.queue.hasAvailable).toBe(true)
  })

  it('lets chains be used in another order', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    const [first, second, third] = addMany(driver, 3)
    const chains = popMany(driver, 3)
    pushMany(driver, [chains[1], chains[2], chains[0]])
    driver.queue.flush()
    expect(driver.pollAll().map(({ token }) => token)).toEqual([second, third, first])
  })

  it('shows nothing before the flush, and then interrupts once', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    addMany(driver, 3)
    pushMany(driver, popMany(driver, 3))
    expect([driver.poll(), driver.interrupts]).toEqual([undefined, 0])
    driver.queue.flush()
    driver.queue.flush()
    expect([driver.pollAll().length, driver.interrupts]).toEqual([3, 1])
  })

  it('does not interrupt a driver that does not want it, unless told to', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    driver.ring.disableInterrupts()
    addMany(driver, 3)
    echo(driver)
    expect(driver.interrupts).toBe(0)
    driver.queue.interrupt()
    expect(driver.interrupts).toBe(1)
  })

  it('finds chains again that were given back, newest first', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    addMany(driver, 4)
    popMany(driver, 3)
    driver.queue.rewind(2)
    expect(readAll(popMany(driver, 9))).toEqual([[1], [2], [3]])
  })

  it('asks for no notification, and for one again', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    driver.queue.suppressNotifications()
    echoMany(driver, 3, () => ({ out: [Uint8Array.of(1)] }))
    driver.kick()
    driver.queue.suppressNotifications()
    addMany(driver, 1)
    expect(driver.kick()).toBe(false)
    echo(driver)
    expect(driver.queue.requestNotifications()).toBe(false)
    addMany(driver, 1)
    expect(driver.kick()).toBe(true)
  })

  it('says that chains came before the driver could know that notifications are wanted', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    addMany(driver, 2)
    popMany(driver, 1)
    expect(driver.queue.requestNotifications()).toBe(true)
  })

  it('waits for more than was given back', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    addMany(driver, 2)
    driver.kick()
    driver.queue.rewind(popMany(driver, 3).length)
    expect([driver.queue.requestNotifications(), driver.queue.hasAvailable]).toEqual([false, true])
    addMany(driver, 1)
    expect([driver.kick(), driver.queue.requestNotifications()]).toEqual([true, true])
  })

  it('waits for the next chain once those given back were taken again', () => {
    const driver = new VirtioDriver({ packed, eventIdx })
    addMany(driver, 2)
    driver.kick()
    driver.queue.rewind(popMany(driver, 3).length)
    popMany(driver, 3)
    expect(driver.queue.requestNotifications()).toBe(false)
    addMany(driver, 1)
    expect([driver.kick(), driver.queue.requestNotifications()]).toEqual([true, true])
  })

  it('takes a chain as long as the queue', () => {
    const driver = new VirtioDriver({ packed, eventIdx, size: 8 })
    driver.add({ in: Array.from({ length: 8 }, () => 1) })
    expect(popMany(driver, 1).map(({ writable }) => writable.count)).toEqual([8])
  })

  it('takes an indirect table longer than the queue', () => {
    const driver = new VirtioDriver({ packed, eventIdx, size: 4, indirect: true })
    driver.add({ in: Array.from({ length: 1024 }, () => 1), indirect: true })
    expect(popMany(driver, 1).map(({ writable }) => writable.count)).toEqual([1024])
  })

  it('goes round the ring', () => {
    const driver = new VirtioDriver({ packed, eventIdx, size: 4 })
    const answers = echoMany(driver, 50, i => ({ out: [Uint8Array.of(i)], in: [1] }))
    expect(answers.map(used => used.in[0]?.[0])).toEqual(Array.from({ length: 50 }, (_, i) => i))
    expect(driver.interrupts).toBe(50)
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('agrees with the model, seed %i', seed => {
    expect(runQueueModel(seed, 2000, { packed, eventIdx, indirect: true, size: 16 })).toEqual([])
  })

  it.each([11, 12, 13, 14])('agrees with the model when the ring is tight, seed %i', seed => {
    expect(runQueueModel(seed, 2000, { packed, eventIdx, size: 4 })).toEqual([])
  })
})

describe.each(LAYOUTS)('VirtQueue, $layout, behind an IOMMU', ({ packed }) => {
  it('works with rings in scattered pages', () => {
    const { driver } = scatteredDriver(packed, 1024)
    const answers = echoMany(driver, 3000, i => ({ out: [Uint8Array.of(i & 0xff)], in: [2] }))
    expect(answers.map(used => [used.in[0]?.[0], used.written])).toEqual(
      Array.from({ length: 3000 }, (_, i) => [i & 0xff, 1]),
    )
    expect(driver.broken).toEqual([])
  })

  it('follows a ring that was mapped elsewhere', () => {
    const { driver, space } = scatteredDriver(packed, 16)
    echoMany(driver, 5, () => ({ out: [Uint8Array.of(1)] }))
    const moved = 0x20_0000
    driver.memory.memory.write(moved, driver.access.read(0x10_0000, PAGE_SIZE))
    space.map(0x10_0000, [moved])
    expect(echoMany(driver, 5, () => ({ out: [Uint8Array.of(1)] })).length).toBe(5)
  })

  it.each([
    ['the descriptor area', 0x10_0000],
    ['the driver area', 0x10_5000],
    ['the device area', 0x10_8000],
  ])('breaks when %s is unmapped', (_, page) => {
    const { driver, space } = scatteredDriver(packed, 16)
    addMany(driver, 2)
    const [chain] = popMany(driver, 1)
    space.unmap(page)
    driver.queue.push(chain as Chain, 0)
    driver.queue.flush()
    expect(popMany(driver, 1)).toEqual([])
    expect([driver.broken.length, driver.queue.isBroken, driver.interrupts]).toEqual([1, true, 0])
    expect(driver.broken[0]).toMatch(/^queue 0: the .* is not all in accessible memory$/)
    expect(space.faults.length).toBe(1)
  })

  it.each([
    ['writes to what it may only read', Access.read, { in: [4] }],
    ['reads what it may only write', Access.write, { out: [Uint8Array.of(1)] }],
  ])('breaks rather than hand out a buffer when the device %s', (_, access, request) => {
    const { driver, space } = scatteredDriver(packed, 16)
    space.map(0x1000, [0x1000], access)
    driver.add(request)
    expect(popMany(driver, 1)).toEqual([])
    expect(driver.broken).toEqual([expect.stringMatching(/the device may not (read|write) \d bytes at 0x1000/)])
  })

  it('reads an indirect table that lies in two pages', () => {
    const memory = new VirtioMemory()
    const space = new PagedSpace(memory.memory)
    space.map(
      0x1000,
      Array.from({ length: 16 }, (_, i) => (17 - i) * PAGE_SIZE),
    )
    const driver = new VirtioDriver({ packed, memory, space, indirect: true })
    driver.add({ out: Array.from({ length: 300 }, (_, i) => Uint8Array.of(i & 0xff)), indirect: true })
    expect(readAll(popMany(driver, 1))).toEqual([Array.from({ length: 300 }, (_, i) => i & 0xff)])
  })
})

describe.each(LAYOUTS)('VirtQueue, $layout, once broken', ({ packed }) => {
  it('is silent and harmless', () => {
    const driver = new VirtioDriver({ packed })
    addMany(driver, 1)
    const [chain] = popMany(driver, 1)
    driver.add({ out: [Uint8Array.of(1)], in: [1] })
    driver.access.setU64(driver.queue.areas.desc + 16, 2 ** 52)
    expect(popMany(driver, 1)).toEqual([])
    driver.queue.push(chain as Chain, 0)
    driver.queue.flush()
    driver.queue.interrupt()
    driver.queue.suppressNotifications()
    expect([driver.queue.requestNotifications(), driver.queue.hasAvailable]).toEqual([false, false])
    expect([driver.broken.length, driver.interrupts, driver.poll()]).toEqual([1, 0, undefined])
  })
})

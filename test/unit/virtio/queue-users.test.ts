import { describe, expect, it } from 'vitest'
import { type DmaUser, IdentitySpace } from '../../../src/memory/dma-space.ts'
import { Chain } from '../../../src/virtio/queue.ts'
import { PAGE_SIZE, PagedSpace } from '../../support/paged-space.ts'
import { VirtioDriver } from '../../support/virtio-driver.ts'
import { HIGH_START, VirtioMemory } from '../../support/virtio-memory.ts'

/** Where the buffers are; the rings are in low memory. */
const IOVA = 0x10_0000_0000
const PAGES = 16
const page = (index: number) => [IOVA + index * PAGE_SIZE, IOVA + (index + 1) * PAGE_SIZE - 1] as const

function setUp(packed: boolean, indirect = false) {
  const memory = new VirtioMemory()
  const space = new PagedSpace(memory.memory)
  const pages = (start: number, count: number) => Array.from({ length: count }, (_, i) => start + i * PAGE_SIZE)
  space.map(0, pages(0, 16))
  space.map(IOVA, pages(HIGH_START, PAGES))
  const driver = new VirtioDriver({ memory, space, packed, indirect })
  const { queue } = driver
  const [user] = [...space.users] as [DmaUser]
  /** A chain with a buffer in each of the given pages. */
  const add = (...indexes: readonly number[]) =>
    driver.ring.add(indexes.map(index => ({ address: IOVA + index * PAGE_SIZE + 8, length: 16, write: false })))
  const pop = () => {
    const chain = new Chain(space)
    expect(queue.pop(chain)).toBe(true)
    return chain
  }
  /** Which of the pages the queue keeps, and which it is busy in. */
  const kept = () => Array.from({ length: PAGES }, (_, i) => i).filter(i => user.keeps(...page(i)))
  const busy = () => Array.from({ length: PAGES }, (_, i) => i).filter(i => user.isBusy(...page(i)))
  const keepsRings = () => user.keeps(0, 16 * PAGE_SIZE - 1)
  return { memory, space, driver, queue, user, add, pop, kept, busy, keepsRings }
}

describe.each([
  { ring: 'split', packed: false },
  { ring: 'packed', packed: true },
])('a $ring virtqueue that uses translations', ({ packed }) => {
  it('is known to its space until it is closed', () => {
    const { space, queue } = setUp(packed)
    expect(space.users.size).toBe(1)
    queue.close()
    expect(space.users.size).toBe(0)
  })

  it('keeps its rings once it has looked at them', () => {
    const { queue, user, keepsRings, driver } = setUp(packed)
    expect(keepsRings()).toBe(false)
    expect(queue.hasAvailable).toBe(false)
    expect(keepsRings()).toBe(true)
    const { desc, driver: avail, device } = driver.ring.areas
    expect([desc, avail, device].map(at => user.keeps(at, at))).toEqual([true, true, true])
    expect(user.keeps(0, Math.min(desc, avail, device) - 1)).toBe(false)
  })

  it('keeps nothing of the rings once it is broken', () => {
    const { queue, space, driver, keepsRings } = setUp(packed)
    expect(queue.hasAvailable).toBe(false)
    space.unmap(driver.ring.areas.desc - (driver.ring.areas.desc % PAGE_SIZE))
    expect(queue.hasAvailable).toBe(false)
    expect(driver.broken).toHaveLength(1)
    expect(keepsRings()).toBe(false)
  })

  it('keeps the buffers of a chain from pop to push', () => {
    const { queue, add, pop, kept } = setUp(packed)
    add(1, 3)
    add(5)
    const first = pop()
    const second = pop()
    expect(kept()).toEqual([1, 3, 5])
    queue.push(first, 0)
    expect(kept()).toEqual([5])
    queue.push(second, 0)
    expect(kept()).toEqual([])
  })

  it('keeps the buffers that an indirect table names, but not the table', () => {
    const { memory, driver, user, pop, kept } = setUp(packed, true)
    const table = memory.allocate(32)
    driver.ring.add([{ address: IOVA + 8, length: 16, write: true }], table)
    pop()
    expect(kept()).toEqual([0])
    expect(user.keeps(table, table + 31)).toBe(false)
  })

  it('keeps all pages of a buffer', () => {
    const { driver, pop, kept } = setUp(packed)
    driver.ring.add([{ address: IOVA + PAGE_SIZE - 1, length: PAGE_SIZE + 2, write: true }])
    pop()
    expect(kept()).toEqual([0, 1, 2])
  })

  it('keeps nothing for a buffer of no bytes', () => {
    const { driver, pop, kept } = setUp(packed)
    driver.ring.add([{ address: IOVA, length: 0, write: true }])
    pop()
    expect(kept()).toEqual([])
  })

  it('keeps nothing of the chains that were given back, newest first', () => {
    const { queue, add, pop, kept } = setUp(packed)
    add(1)
    add(2)
    add(3)
    const chains = [pop(), pop(), pop()]
    queue.rewind(2)
    expect(kept()).toEqual([1])
    pop()
    expect(kept()).toEqual([1, 2])
    queue.push(chains[0] as Chain, 0)
    expect(kept()).toEqual([2])
  })

  it('keeps what is left when chains are pushed in any order', () => {
    const { queue, add, pop, kept } = setUp(packed)
    add(1)
    add(2)
    add(3)
    add(4)
    const [first, second, third, fourth] = [pop(), pop(), pop(), pop()]
    queue.push(third, 0)
    expect(kept()).toEqual([1, 2, 4])
    queue.push(fourth, 0)
    queue.push(first, 0)
    expect(kept()).toEqual([2])
    queue.push(second, 0)
    expect(kept()).toEqual([])
  })

  it('is busy with pinned chains, once translations have changed since they were popped', () => {
    const { space, add, pop, busy } = setUp(packed)
    add(1)
    add(2)
    const pinned = pop()
    pinned.isPinned = true
    pop()
    expect(busy()).toEqual([])
    space.version++
    expect(busy()).toEqual([1])
    add(4)
    pop().isPinned = true
    expect(busy()).toEqual([1])
    pinned.isPinned = false
    expect(busy()).toEqual([])
  })

  it('is busy until the pinned chain is pushed, also if the rings have gone', () => {
    const { space, queue, driver, add, pop, busy } = setUp(packed)
    add(1)
    const chain = pop()
    chain.isPinned = true
    space.unmap(driver.ring.areas.desc - (driver.ring.areas.desc % PAGE_SIZE))
    expect(busy()).toEqual([1])
    queue.push(chain, 0)
    expect(busy()).toEqual([])
    expect(queue.isBroken).toBe(true)
  })

  it('forgets a chain that is used for another queue', () => {
    const { queue, add, kept } = setUp(packed)
    const other = setUp(packed)
    add(1)
    other.add(2)
    const chain = new Chain(other.space)
    expect(queue.pop(chain)).toBe(true)
    expect(other.queue.pop(chain)).toBe(true)
    expect([kept(), other.kept()]).toEqual([[], [2]])
    queue.push(chain, 0)
    expect(other.kept()).toEqual([2])
  })

  it('translates its rings anew when the version changes, and reads and writes where they are then', () => {
    const { memory, space, driver, add, pop, queue } = setUp(packed)
    add(1)
    const chain = pop()
    // The same content elsewhere: the driver sees the new place, too.
    memory.memory.write(0x20_0000, memory.memory.bytesAt(0, 16 * PAGE_SIZE).slice())
    memory.memory.bytesAt(0, 16 * PAGE_SIZE).fill(0)
    space.map(
      0,
      Array.from({ length: 16 }, (_, i) => 0x20_0000 + i * PAGE_SIZE),
    )
    queue.push(chain, 0)
    queue.flush()
    expect(driver.ring.take()).toMatchObject({ id: chain.id })
    expect(memory.memory.bytesAt(0, 16 * PAGE_SIZE).every(byte => byte === 0)).toBe(true)
  })

  it('touches nothing after it was closed', () => {
    const { memory, queue, driver, add, pop } = setUp(packed)
    add(1)
    add(2)
    const chain = pop()
    const before = memory.memory.bytesAt(0, 16 * PAGE_SIZE).slice()
    queue.close()
    queue.push(chain, 16)
    queue.flush()
    expect([queue.pop(chain), queue.hasAvailable, queue.requestNotifications()]).toEqual([false, false, false])
    queue.suppressNotifications()
    expect(Buffer.compare(memory.memory.bytesAt(0, 16 * PAGE_SIZE), before)).toBe(0)
    expect(driver.broken).toEqual([])
  })

  it('keeps no account where nothing is ever taken back', () => {
    const memory = new VirtioMemory()
    const driver = new VirtioDriver({ memory, packed })
    driver.add({ out: [new Uint8Array(8)] })
    const chain = new Chain(new IdentitySpace(memory.memory))
    expect(driver.queue.pop(chain)).toBe(true)
    expect([chain.list, chain.ranges.overlap(0, Number.MAX_SAFE_INTEGER)]).toEqual([undefined, false])
  })
})

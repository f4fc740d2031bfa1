import { describe, expect, it } from 'vitest'
import { IdentitySpace } from '../../../src/memory/dma-space.ts'
import { Chain } from '../../../src/virtio/queue.ts'
import { SplitQueue } from '../../../src/virtio/split-queue.ts'
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  type RawDescriptor,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../support/driver-ring.ts'
import { addMany, echo, echoMany, popMany, pushMany } from '../../support/echo-queue.ts'
import type { SplitDriverRing } from '../../support/split-driver-ring.ts'
import { VirtioDriver, type VirtioDriverOptions } from '../../support/virtio-driver.ts'
import { HIGH_START, VirtioMemory } from '../../support/virtio-memory.ts'

const SIZE = 8
/** Where tests put buffers and tables by hand. */
const DATA = 0x10_0000
const TABLE = 0x11_0000
const HOLE = 0x4000_0000

function splitDriver(options: VirtioDriverOptions = {}): { driver: VirtioDriver; ring: SplitDriverRing } {
  const driver = new VirtioDriver({ size: SIZE, ...options })
  return { driver, ring: driver.split as SplitDriverRing }
}

/** Descriptors from 0 on, of which 0 is offered. */
function offered(table: readonly RawDescriptor[], options?: VirtioDriverOptions): VirtioDriver {
  const { driver, ring } = splitDriver(options)
  table.forEach((descriptor, i) => {
    ring.writeDescriptor(i, descriptor)
  })
  ring.offer(0)
  return driver
}

/** An indirect table with these descriptors, offered. */
function offeredTable(table: readonly RawDescriptor[], own: RawDescriptor = {}): VirtioDriver {
  const { driver, ring } = splitDriver({ indirect: true })
  table.forEach((descriptor, i) => {
    ring.writeDescriptor(i, descriptor, TABLE)
  })
  ring.writeDescriptor(0, { address: TABLE, length: 16 * table.length, flags: INDIRECT, ...own })
  ring.offer(0)
  return driver
}

describe('SplitQueue', () => {
  it.each<[string, RawDescriptor[], string]>([
    ['loops to itself', [{ flags: NEXT, next: 0 }], 'a chain loops or is longer than the queue'],
    ['loops over two', [{ flags: NEXT, next: 1 }, { flags: NEXT }], 'a chain loops or is longer than the queue'],
    ['leaves the table', [{ flags: NEXT, next: SIZE }], `descriptor ${SIZE} is not in the table`],
    ['leaves the table far', [{ flags: NEXT, next: 0xffff }], 'descriptor 65535 is not in the table'],
    [
      'reads after it writes',
      [
        { address: DATA, length: 4, flags: WRITE | NEXT, next: 1 },
        { address: DATA, length: 4 },
      ],
      'a device-readable descriptor follows a device-writable one',
    ],
    [
      'reads nothing after it writes nothing',
      [{ flags: WRITE | NEXT, next: 1 }, {}],
      'a device-readable descriptor follows a device-writable one',
    ],
    ['has a buffer in a hole', [{ address: HOLE, length: 1 }], 'the device may not read 1 bytes at 0x40000000'],
    [
      'has a buffer that runs into a hole',
      [{ address: HIGH_START - 1, length: 2, flags: WRITE }],
      'the device may not write 2 bytes at 0xffffffff',
    ],
    [
      'has a buffer that ends behind the last memory',
      [{ address: HIGH_START + 0x40_0000 - 1, length: 2 }],
      'the device may not read 2 bytes at 0x1003fffff',
    ],
    ['has a buffer of 4 GiB', [{ address: DATA, length: 0xffff_ffff }], 'the device may not read 4294967295 bytes'],
    ['has a buffer at the end of addresses', [{ address: 2 ** 64 - 2 ** 11, length: 2 ** 12 }], 'the device may not'],
    ['is indirect unasked', [{ address: TABLE, length: 16, flags: INDIRECT }], 'without VIRTIO_F_INDIRECT_DESC'],
  ])('breaks on a chain that %s', (_, table, reason) => {
    const driver = offered(table)
    expect(popMany(driver, 2)).toEqual([])
    expect(driver.broken).toEqual([expect.stringContaining(reason)])
  })

  it.each<[string, RawDescriptor[], RawDescriptor, string]>([
    ['of no length', [{}], { length: 0 }, 'an indirect table of 0 bytes'],
    ['of a crooked length', [{}], { length: 17 }, 'an indirect table of 17 bytes'],
    ['of 4 GiB', [{}], { length: 2 ** 32 - 16 }, 'an indirect table of 268435455 descriptors'],
    ['with more than 1024 descriptors', [{}], { length: 1025 * 16 }, 'an indirect table of 1025 descriptors'],
    ['in a hole', [{}], { address: HOLE }, 'an indirect table at 0x40000000'],
    ['with a next descriptor', [{}], { flags: INDIRECT | NEXT, next: 1 }, 'an indirect descriptor with a next one'],
    ['in another', [{ address: TABLE, length: 16, flags: INDIRECT }], {}, 'an indirect table in an indirect table'],
    ['that loops', [{ flags: NEXT, next: 1 }, { flags: NEXT }], {}, 'a chain loops in its indirect table'],
    ['that is left', [{ flags: NEXT, next: 2 }, {}], {}, 'descriptor 2 is not in the indirect table'],
    ['with a bad buffer', [{ address: HOLE, length: 9 }], {}, 'the device may not read 9 bytes at 0x40000000'],
    [
      'that reads after it writes',
      [
        { address: DATA, length: 1, flags: WRITE | NEXT, next: 1 },
        { address: DATA, length: 1 },
      ],
      {},
      'a device-readable descriptor follows a device-writable one',
    ],
  ])('breaks on an indirect table %s', (_, table, own, reason) => {
    const driver = offeredTable(table, own)
    expect(popMany(driver, 2)).toEqual([])
    expect(driver.broken).toEqual([expect.stringContaining(reason)])
  })

  it('follows an indirect table in its own order and ignores the WRITE flag of its descriptor', () => {
    const entries = [
      { address: DATA, length: 1, flags: NEXT, next: 2 },
      { address: DATA + 0x20, length: 3, flags: WRITE },
      { address: DATA + 0x10, length: 2, flags: NEXT, next: 1 },
    ]
    const [chain] = popMany(offeredTable(entries, { flags: INDIRECT | WRITE }), 1)
    expect([chain?.readable.start(1), chain?.readable.size, chain?.writable.size]).toEqual([DATA + 0x10, 3, 3])
  })

  it('takes an indirect table at the end of a direct chain', () => {
    const driver = offered(
      [
        { address: DATA, length: 5, flags: NEXT, next: 1 },
        { address: TABLE, length: 16, flags: INDIRECT },
      ],
      { indirect: true },
    )
    driver.split?.writeDescriptor(0, { address: DATA, length: 7, flags: WRITE }, TABLE)
    const [chain] = popMany(driver, 1)
    expect([chain?.readable.size, chain?.writable.size]).toEqual([5, 7])
  })

  it.each([
    ['takes 2^32 bytes in a chain', 0, [2 ** 32], []],
    ['breaks on one byte more', 1, [], ['queue 0: a chain has more than 2^32 bytes']],
  ])('%s', (_, extra, sizes, broken) => {
    // The same 4 MiB again and again.
    const entries = Array.from({ length: 1024 }, (_, i) => ({
      length: 2 ** 22,
      flags: i < 1023 ? NEXT : 0,
      next: i + 1,
    }))
    const driver = offeredTable(entries, { address: DATA, length: extra, flags: NEXT, next: 1 })
    driver.split?.writeDescriptor(1, { address: TABLE, length: 16 * 1024, flags: INDIRECT })
    expect(popMany(driver, 1).map(({ readable }) => readable.size)).toEqual(sizes)
    expect(driver.broken).toEqual(broken)
  })

  it('breaks on a head that is not in the table', () => {
    const { driver, ring } = splitDriver()
    ring.offer(SIZE)
    expect(popMany(driver, 1)).toEqual([])
    expect(driver.broken).toEqual([`queue 0: descriptor ${SIZE} is not in the table`])
  })

  it.each([
    ['one more than there are entries', 0, SIZE + 1, SIZE + 1],
    ['backwards', 0, 0xffff, 0xffff],
    ['across the end of the index', 0xfffe, SIZE + 7, SIZE + 9],
  ])('breaks on an available index that jumps %s', (_, start, idx, by) => {
    const { driver, ring } = splitDriver({ start })
    ring.setAvailIdx(idx)
    expect(popMany(driver, 1)).toEqual([])
    expect(driver.broken).toEqual([`queue 0: the available index jumps by ${by}`])
  })

  it('breaks when the driver offers more than the queue holds while the device has chains', () => {
    const { driver, ring } = splitDriver()
    addMany(driver, SIZE)
    expect(popMany(driver, SIZE).length).toBe(SIZE)
    ring.offer(0)
    expect(popMany(driver, 1)).toEqual([])
    expect(driver.broken).toEqual(['queue 0: more chains are in use than the queue has entries'])
  })

  it.each([
    ['a descriptor table that is not aligned', { desc: DATA + 8 }, 'descriptor table at 0x100008 is not aligned to 16'],
    ['an available ring that is not aligned', { driver: DATA + 1 }, 'available ring at 0x100001 is not aligned to 2'],
    ['a used ring that is not aligned', { device: DATA + 2 }, 'used ring at 0x100002 is not aligned to 4'],
    ['rings outside memory', { driver: HOLE }, 'available ring at 0x40000000 is not all in accessible memory'],
    ['rings that leave memory', { desc: HIGH_START - 16 }, 'is not all in accessible memory'],
  ])('breaks on %s, when it is used', (_, area, reason) => {
    const broken: string[] = []
    const { memory } = new VirtioMemory()
    const queue = new SplitQueue({
      index: 3,
      size: SIZE,
      space: new IdentitySpace(memory),
      areas: { desc: DATA, driver: DATA, device: DATA, ...area },
      eventIdx: false,
      indirect: false,
      interrupt: () => {},
      onBroken: text => broken.push(text),
    })
    expect(broken).toEqual([])
    expect(queue.pop(new Chain(queue.space))).toBe(false)
    expect(broken).toEqual([expect.stringMatching(/^queue 3: the /)])
    expect(broken[0]).toContain(reason)
  })

  it.each([0, 3, 65536])('breaks on size %i', size => {
    const broken: string[] = []
    const queue = new SplitQueue({
      index: 0,
      size,
      space: new IdentitySpace(new VirtioMemory().memory),
      areas: { desc: DATA, driver: DATA, device: DATA },
      eventIdx: false,
      indirect: false,
      interrupt: () => {},
      onBroken: text => broken.push(text),
    })
    expect(queue.hasAvailable).toBe(false)
    expect(broken).toEqual([`queue 0: queue size ${size} is not possible`])
  })

  it.each([false, true])('goes on behind index 65535 (EVENT_IDX: %s)', eventIdx => {
    const { driver, ring } = splitDriver({ start: 65530, eventIdx })
    const answers = echoMany(driver, 12, i => ({ out: [Uint8Array.of(i)], in: [1] }))
    expect(answers.map(used => used.in[0]?.[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    expect([driver.interrupts, ring.publishedUsedIdx]).toEqual([12, 6])
  })

  // §2.7.7.2: an interrupt when the entry with index used_event is among those just published.
  it.each([
    ['the first of the batch', 0, 4, 0, 1],
    ['the last of the batch', 0, 4, 3, 1],
    ['one behind the batch', 0, 4, 4, 0],
    ['one before the batch', 0, 4, 65535, 0],
    ['the last before the index wraps', 65534, 4, 65535, 1],
    ['the first after the index wraps', 65534, 4, 0, 1],
    ['the last after the index wraps', 65534, 4, 1, 1],
    ['one behind, after the index wraps', 65534, 4, 2, 0],
    ['one before, as the index wraps', 65534, 4, 65533, 0],
    ['the only one', 65535, 1, 65535, 1],
    ['half a turn away', 0, 8, 32768, 0],
  ])('looks at used_event: %s', (_, start, batch, event, interrupts) => {
    const { driver, ring } = splitDriver({ start, eventIdx: true })
    addMany(driver, batch)
    driver.access.setU16(ring.areas.driver + 4 + 2 * SIZE, event)
    echo(driver)
    expect(driver.interrupts).toBe(interrupts)
  })

  it('compares used_event with what each flush publishes, not with all', () => {
    const { driver, ring } = splitDriver({ eventIdx: true })
    addMany(driver, 4)
    driver.access.setU16(ring.areas.driver + 4 + 2 * SIZE, 1)
    const chains = popMany(driver, 4)
    pushMany(driver, chains.slice(0, 2))
    driver.queue.flush()
    expect(driver.interrupts).toBe(1)
    pushMany(driver, chains.slice(2))
    driver.queue.flush()
    expect(driver.interrupts).toBe(1)
  })

  it('tells avail_event or flags what it wants to hear of', () => {
    const { driver, ring } = splitDriver({ eventIdx: true })
    echoMany(driver, 3, () => ({ out: [Uint8Array.of(1)] }))
    driver.queue.requestNotifications()
    expect(ring.availEvent).toBe(3)
    const plain = splitDriver()
    plain.driver.queue.suppressNotifications()
    expect(plain.ring.usedFlags).toBe(1)
    plain.driver.queue.requestNotifications()
    expect(plain.ring.usedFlags).toBe(0)
  })

  it('writes nothing to the driver of a queue that it has not used', () => {
    const { driver, ring } = splitDriver({ eventIdx: true })
    addMany(driver, 2)
    const before = driver.access.read(ring.areas.device, 6 + 8 * SIZE)
    pushMany(driver, popMany(driver, 2).slice(0, 0))
    driver.queue.flush()
    expect(driver.access.read(ring.areas.device, 6 + 8 * SIZE)).toEqual(before)
  })
})

import { describe, expect, it } from 'vitest'
import { IdentitySpace } from '../../../src/memory/dma-space.ts'
import { PackedQueue } from '../../../src/virtio/packed-queue.ts'
import { Chain } from '../../../src/virtio/queue.ts'
import {
  VIRTQ_DESC_F_INDIRECT as INDIRECT,
  VIRTQ_DESC_F_NEXT as NEXT,
  type RawDescriptor,
  VIRTQ_DESC_F_WRITE as WRITE,
} from '../../support/driver-ring.ts'
import { addMany, echo, echoMany, popMany, pushMany } from '../../support/echo-queue.ts'
import type { PackedDriverRing } from '../../support/packed-driver-ring.ts'
import { VirtioDriver, type VirtioDriverOptions } from '../../support/virtio-driver.ts'
import { HIGH_START, VirtioMemory } from '../../support/virtio-memory.ts'

/** Not a power of two: packed queues may have any size. */
const SIZE = 6
/** Where tests put buffers and tables by hand. */
const DATA = 0x10_0000
const TABLE = 0x11_0000
const HOLE = 0x4000_0000
const AVAIL = 1 << 7
const USED = 1 << 15
/** In the event suppression structures. */
const ENABLE = 0
const DISABLE = 1
const DESC = 2

function packedDriver(options: VirtioDriverOptions = {}): { driver: VirtioDriver; ring: PackedDriverRing } {
  const driver = new VirtioDriver({ size: SIZE, packed: true, ...options })
  return { driver, ring: driver.packed as PackedDriverRing }
}

/** One chain, offered as it is. */
function offered(descriptors: readonly RawDescriptor[], options?: VirtioDriverOptions): VirtioDriver {
  const { driver, ring } = packedDriver(options)
  ring.offer(descriptors)
  return driver
}

/** An indirect table with these descriptors, offered. */
function offeredTable(table: readonly RawDescriptor[], own: RawDescriptor = {}): VirtioDriver {
  const { driver, ring } = packedDriver({ indirect: true })
  table.forEach((descriptor, i) => {
    ring.writeDescriptor(i, descriptor, TABLE)
  })
  ring.offer([{ address: TABLE, length: 16 * table.length, flags: INDIRECT, ...own }])
  return driver
}

/** A driver whose queue served `count` chains of one descriptor. */
function advanced(count: number, options?: VirtioDriverOptions): { driver: VirtioDriver; ring: PackedDriverRing } {
  const made = packedDriver(options)
  echoMany(made.driver, count, () => ({ out: [Uint8Array.of(1)] }))
  made.driver.interrupts = 0
  return made
}

describe('PackedQueue', () => {
  it.each<[string, RawDescriptor[], string]>([
    [
      'is longer than the queue',
      Array.from({ length: SIZE }, () => ({ flags: NEXT })),
      'a chain is longer than the queue',
    ],
    [
      'reads after it writes',
      [
        { address: DATA, length: 4, flags: WRITE | NEXT },
        { address: DATA, length: 4 },
      ],
      'a device-readable descriptor follows a device-writable one',
    ],
    ['has a buffer in a hole', [{ address: HOLE, length: 1 }], 'the device may not read 1 bytes at 0x40000000'],
    [
      'has a buffer that runs into a hole',
      [{ address: HIGH_START - 1, length: 2, flags: WRITE }],
      'the device may not write 2 bytes at 0xffffffff',
    ],
    ['has a buffer of 4 GiB', [{ address: DATA, length: 0xffff_ffff }], 'the device may not read 4294967295 bytes'],
    ['is indirect unasked', [{ address: TABLE, length: 16, flags: INDIRECT }], 'without VIRTIO_F_INDIRECT_DESC'],
  ])('breaks on a chain that %s', (_, descriptors, reason) => {
    const driver = offered(descriptors)
    expect(popMany(driver, 2)).toEqual([])
    expect(driver.broken).toEqual([expect.stringContaining(reason)])
  })

  it.each<[string, RawDescriptor[]]>([
    ['begins', [{ address: TABLE, length: 16, flags: INDIRECT | NEXT }, {}]],
    ['ends', [{ flags: NEXT }, { address: TABLE, length: 16, flags: INDIRECT }]],
  ])('breaks on an indirect descriptor that %s a list', (_, descriptors) => {
    const driver = offered(descriptors, { indirect: true })
    expect(popMany(driver, 2)).toEqual([])
    expect(driver.broken).toEqual(['queue 0: an indirect descriptor is part of a list'])
  })

  it.each<[string, RawDescriptor[], RawDescriptor, string]>([
    ['of no length', [{}], { length: 0 }, 'an indirect table of 0 bytes'],
    ['of a crooked length', [{}], { length: 24 }, 'an indirect table of 24 bytes'],
    ['with more than 1024 descriptors', [{}], { length: 1025 * 16 }, 'an indirect table of 1025 descriptors'],
    ['in a hole', [{}], { address: HOLE }, 'an indirect table at 0x40000000'],
    ['with a bad buffer', [{ address: HOLE, length: 9 }], {}, 'the device may not read 9 bytes at 0x40000000'],
  ])('breaks on an indirect table %s', (_, table, own, reason) => {
    const driver = offeredTable(table, own)
    expect(popMany(driver, 2)).toEqual([])
    expect(driver.broken).toEqual([expect.stringContaining(reason)])
  })

  it('takes all of an indirect table, ignores all flags in it but WRITE, and takes the id from outside', () => {
    const entries = [
      { address: DATA, length: 1, flags: INDIRECT, next: 9 },
      { address: DATA, length: 2, next: 8 },
      { address: DATA, length: 3, flags: WRITE | NEXT, next: 7 },
    ]
    const [chain] = popMany(offeredTable(entries, { flags: INDIRECT | WRITE, next: 4 }), 1)
    expect([chain?.readable.size, chain?.writable.size, chain?.id, chain?.slots]).toEqual([3, 3, 4, 1])
  })

  it('takes the id from the last descriptor of a chain', () => {
    const chains = popMany(offered([{ flags: NEXT, next: 1 }, { flags: NEXT, next: 2 }, { next: 3 }]), 1)
    expect(chains.map(({ id, slots }) => [id, slots])).toEqual([[3, 3]])
  })

  it('breaks when the driver fills slots again that the device holds', () => {
    const { driver, ring } = packedDriver()
    ring.offer(Array.from({ length: SIZE - 1 }, (_, i) => ({ flags: i < SIZE - 2 ? NEXT : 0 })))
    expect(popMany(driver, 1).length).toBe(1)
    ring.offer([{ flags: NEXT }, {}])
    expect(popMany(driver, 1)).toEqual([])
    expect(driver.broken).toEqual(['queue 0: more descriptors are in use than the ring has'])
  })

  it.each([
    ['a ring that is not aligned', { desc: DATA + 8 }, 'descriptor ring at 0x100008 is not aligned to 16'],
    ['a driver area that is not aligned', { driver: DATA + 2 }, 'driver event area at 0x100002 is not aligned to 4'],
    ['a device area that is not aligned', { device: DATA + 1 }, 'device event area at 0x100001 is not aligned to 4'],
    ['areas outside memory', { device: HOLE }, 'device event area at 0x40000000 is not all in accessible memory'],
  ])('breaks on %s, when it is used', (_, area, reason) => {
    const broken: string[] = []
    const queue = new PackedQueue({
      index: 3,
      size: SIZE,
      space: new IdentitySpace(new VirtioMemory().memory),
      areas: { desc: DATA, driver: DATA, device: DATA, ...area },
      eventIdx: false,
      indirect: false,
      interrupt: () => {},
      onBroken: text => broken.push(text),
    })
    expect(broken).toEqual([])
    expect(queue.pop(new Chain(queue.space))).toBe(false)
    expect(broken).toEqual([`queue 3: the ${reason}`])
  })

  it.each([
    ['of the wrong lap', USED],
    ['that are used', AVAIL | USED],
    ['that are zero', 0],
  ])('takes no descriptor with flags %s', (_, flags) => {
    const { driver, ring } = packedDriver()
    ring.writeDescriptor(0, { flags })
    expect([popMany(driver, 1), driver.queue.hasAvailable, driver.broken]).toEqual([[], false, []])
  })

  it('skips the slots of a chain when it writes the next used descriptor', () => {
    const { driver } = packedDriver()
    driver.add({ out: [Uint8Array.of(1), Uint8Array.of(2)], in: [1] })
    driver.add({ in: [1] })
    echo(driver)
    const flagsAt = (slot: number) => driver.access.getU16(driver.queue.areas.desc + 16 * slot + 14) & (AVAIL | USED)
    expect([0, 1, 3].map(flagsAt)).toEqual([AVAIL | USED, AVAIL, AVAIL | USED])
  })

  it('shows a batch with its first descriptor, which it stores last', () => {
    const { driver } = packedDriver()
    addMany(driver, 3)
    const flagsAt = (slot: number) => driver.access.getU16(driver.queue.areas.desc + 16 * slot + 14) & (AVAIL | USED)
    pushMany(driver, popMany(driver, 3))
    expect([0, 1, 2].map(flagsAt)).toEqual([AVAIL, AVAIL | USED, AVAIL | USED])
    driver.queue.flush()
    expect(flagsAt(0)).toBe(AVAIL | USED)
  })

  it.each([
    ['something was written', [4], WRITE],
    ['nothing was written', [], 0],
  ])('says in the used descriptor that %s', (_, inputs, flag) => {
    const { driver } = packedDriver()
    driver.add({ out: [Uint8Array.of(1)], in: inputs })
    echo(driver)
    expect(driver.access.getU16(driver.queue.areas.desc + 14) & WRITE).toBe(flag)
  })

  it('goes round the ring with chains that lie across its end', () => {
    const { driver } = packedDriver()
    const answers = echoMany(driver, 40, i => ({ out: [Uint8Array.of(i), Uint8Array.of(i)], in: [1, 1] }))
    expect(answers.map(used => used.in[1]?.[0])).toEqual(Array.from({ length: 40 }, (_, i) => i))
  })

  it('gives chains back across the end of the ring', () => {
    const { driver } = advanced(SIZE - 1)
    driver.add({ out: [Uint8Array.of(1), Uint8Array.of(2)] })
    driver.add({ out: [Uint8Array.of(3)] })
    popMany(driver, 2)
    driver.queue.rewind(2)
    expect(popMany(driver, 3).map(({ readable }) => readable.size)).toEqual([2, 1])
  })

  // §2.8.10: an interrupt when the slot at the offset, in the lap of the wrap counter, is among those just used.
  it.each([
    ['the first of the batch', 0, 3, { offset: 0, wrap: 1 }, 1],
    ['the last of the batch', 0, 3, { offset: 2, wrap: 1 }, 1],
    ['one behind the batch', 0, 3, { offset: 3, wrap: 1 }, 0],
    ['the same slot a lap before', 0, 3, { offset: 0, wrap: 0 }, 0],
    ['the slot before', 2, 3, { offset: 1, wrap: 1 }, 0],
    ['the last slot of the ring', 4, 4, { offset: 5, wrap: 1 }, 1],
    ['the first slot of the next lap', 4, 4, { offset: 0, wrap: 0 }, 1],
    ['the last of a batch across the end', 4, 4, { offset: 1, wrap: 0 }, 1],
    ['one behind a batch across the end', 4, 4, { offset: 2, wrap: 0 }, 0],
    ['the first slot of this lap after the end', 4, 4, { offset: 0, wrap: 1 }, 0],
    ['the last slot, as the batch ends there', 3, 3, { offset: 5, wrap: 1 }, 1],
    ['the whole ring', 3, SIZE, { offset: 2, wrap: 0 }, 1],
    ['an offset that is no slot', 0, 3, { offset: 0x7fff, wrap: 1 }, 0],
  ])('looks at the driver event: %s', (_, start, batch, { offset, wrap }, interrupts) => {
    const { driver, ring } = advanced(start, { eventIdx: true })
    addMany(driver, batch)
    ring.writeDriverEvent(DESC, offset, wrap)
    echo(driver)
    expect(driver.interrupts).toBe(interrupts)
  })

  it.each([
    ['on', ENABLE, false, 1],
    ['off', DISABLE, false, 0],
    ['on, with EVENT_IDX', ENABLE, true, 1],
    ['off, with EVENT_IDX', DISABLE, true, 0],
    ['for a slot, which was not negotiated', DESC, false, 1],
    ['reserved', 3, true, 1],
  ])('looks at the driver event flags: %s', (_, flags, eventIdx, interrupts) => {
    const { driver, ring } = packedDriver({ eventIdx })
    addMany(driver, 3)
    ring.writeDriverEvent(flags, 5, 1)
    echo(driver)
    expect(driver.interrupts).toBe(interrupts)
  })

  it.each([
    ['in the first lap', 2, { flags: DESC, offset: 2, wrap: 1 }],
    ['at the end of the ring', SIZE, { flags: DESC, offset: 0, wrap: 0 }],
    ['in the second lap', SIZE + 2, { flags: DESC, offset: 2, wrap: 0 }],
  ])('tells the driver which slot it waits for, %s', (_, count, event) => {
    const { driver, ring } = advanced(count, { eventIdx: true })
    driver.queue.requestNotifications()
    expect(ring.deviceEvent).toEqual(event)
  })

  it('waits for the slot behind those that were given back, across the end of the ring', () => {
    const { driver, ring } = advanced(SIZE - 1, { eventIdx: true })
    addMany(driver, 3)
    driver.queue.rewind(popMany(driver, 3).length)
    expect(driver.queue.requestNotifications()).toBe(false)
    expect(ring.deviceEvent).toEqual({ flags: DESC, offset: 2, wrap: 0 })
  })

  it('turns notifications off and on in the flags without EVENT_IDX', () => {
    const { driver, ring } = packedDriver()
    driver.queue.suppressNotifications()
    expect(ring.deviceEvent.flags).toBe(DISABLE)
    driver.queue.requestNotifications()
    expect(ring.deviceEvent).toEqual({ flags: ENABLE, offset: 0, wrap: 0 })
  })
})

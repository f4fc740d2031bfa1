import { describe, expect, it } from 'vitest'
import { VirtioBlk } from '../../../src/virtio/blk.ts'
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from '../../../src/virtio/blk-protocol.ts'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { type DeviceHarness, deviceHarness, type HarnessOptions } from '../../support/device-harness.ts'
import { blkAnswer, blkHeader } from '../../support/disk.ts'
import { MemoryDisk, type MemoryDiskOptions } from '../../support/memory-disk.ts'
import { repeat } from '../../support/repeat.ts'
import { VirtioPciDriver } from '../../support/virtio-pci-driver.ts'

const WRITEBACK = 32
const CACHES = VIRTIO_BLK_F_FLUSH | VIRTIO_BLK_F_CONFIG_WCE

function device(disk: MemoryDisk, queues = 1): VirtioBlk {
  return new VirtioBlk({ name: 'disk', backend: disk, serial: '', queues })
}

function bench(
  options: MemoryDiskOptions & HarnessOptions & { readonly queues?: undefined } = {},
  queues = 1,
): { readonly disk: MemoryDisk; readonly harness: DeviceHarness } {
  const disk = new MemoryDisk(options)
  return { disk, harness: deviceHarness(device(disk, queues), options) }
}

const reading = (sector = 0) => ({ out: [blkHeader(0, sector)], in: [512, 1] })
const writing = (sector = 0) => ({ out: [blkHeader(1, sector), new Uint8Array(512)], in: [1] })
const zeroing = { out: [blkHeader(13), new Uint8Array(16).with(8, 1)], in: [1] }

describe('VirtioBlk', () => {
  it('describes the disk in its configuration space', () => {
    const { config } = device(new MemoryDisk({ sectors: 0x12345 }), 3)
    expect(Buffer.from(config).toString('hex')).toBe(
      [
        '4523010000000000', // capacity
        '00000000', // size_max: not offered
        'fe000000', // seg_max 254
        '00000000', // geometry: not offered
        '00020000', // blk_size 512
        '03', // physical_block_exp: 4096
        '00', // alignment_offset
        '0800', // min_io_size 4096
        '80000000', // opt_io_size 65536
        '01', // writeback
        '00',
        '0300', // num_queues
        '00004000', // max_discard_sectors: 2 GiB
        '01000000', // max_discard_seg
        '08000000', // discard_sector_alignment
        '00004000', // max_write_zeroes_sectors
        '01000000', // max_write_zeroes_seg
        '01', // write_zeroes_may_unmap
        '000000',
      ].join(''),
    )
  })

  it('offers what a writable disk can do', () => {
    expect(device(new MemoryDisk()).features).toBe(
      VIRTIO_BLK_F_SEG_MAX |
        VIRTIO_BLK_F_BLK_SIZE |
        VIRTIO_BLK_F_FLUSH |
        VIRTIO_BLK_F_TOPOLOGY |
        VIRTIO_BLK_F_CONFIG_WCE |
        VIRTIO_BLK_F_MQ |
        VIRTIO_BLK_F_DISCARD |
        VIRTIO_BLK_F_WRITE_ZEROES,
    )
  })

  it('offers a read-only disk as such, without what changes it', () => {
    const { features } = device(new MemoryDisk({ readOnly: true }))
    expect(features & (VIRTIO_BLK_F_RO | VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)).toBe(VIRTIO_BLK_F_RO)
  })

  it.each([
    ['split', 0n],
    ['split with EVENT_IDX', VIRTIO_F_RING_EVENT_IDX],
    ['packed with EVENT_IDX', VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_PACKED],
  ])('serves a batch with one interrupt and one kick of the disk: %s', (_, features) => {
    const { disk, harness } = bench({ features })
    const driver = harness.driver(0)
    const tokens = Array.from({ length: 8 }, (_, i) => driver.add(reading(i)))
    driver.kick()
    expect(driver.pollAll().map(({ token }) => token)).toEqual(tokens)
    expect(driver.interrupts).toBe(1)
    expect(disk.kicks).toBe(1)
  })

  it('answers in whatever order the disk completes, with one interrupt for those that come together', () => {
    const { disk, harness } = bench()
    disk.isHolding = true
    for (const sector of [1, 2, 3]) harness.send(0, reading(sector))
    expect(harness.driver(0).poll()).toBeUndefined()
    disk.complete(2)
    expect(harness.driver(0).pollAll()).toHaveLength(2)
    disk.complete()
    expect(harness.driver(0).pollAll()).toHaveLength(1)
    expect(harness.driver(0).interrupts).toBe(2)
  })

  it('keeps what the disk has no room for in the queue until it has', () => {
    const { disk, harness } = bench({ depth: 3 })
    disk.isHolding = true
    const driver = harness.driver(0)
    for (const sector of [0, 1, 2, 3, 4, 5, 6]) driver.add(reading(sector))
    driver.kick()
    expect(disk.heldCount).toBe(3)
    disk.complete(1)
    expect(disk.heldCount).toBe(3)
    disk.isHolding = false
    disk.complete()
    expect(driver.pollAll()).toHaveLength(7)
  })

  it('lets other devices go on when a driver never stops asking', () => {
    const { disk, harness } = bench()
    const driver = harness.driver(0)
    const { queue } = driver
    const flush = queue.flush.bind(queue)
    // As a driver on another CPU does.
    queue.flush = () => {
      flush()
      driver.pollAll()
      driver.add(reading())
    }
    harness.send(0, reading())
    expect(disk.log.length).toBeLessThan(100)
    expect(disk.deferred).toHaveLength(1)
    const before = disk.log.length
    disk.deferred.pop()!()
    expect(disk.log.length).toBeGreaterThan(before)
  })

  it('has one turn to come, however often such a driver notifies', () => {
    const { disk, harness } = bench()
    const driver = harness.driver(0)
    const { queue } = driver
    const flush = queue.flush.bind(queue)
    queue.flush = () => {
      flush()
      driver.pollAll()
      driver.add(reading())
    }
    harness.send(0, reading())
    repeat(5, () => driver.kick())
    expect(disk.deferred).toHaveLength(1)
  })

  it('serves each queue for itself', () => {
    const { harness } = bench({ sectors: 64 }, 4)
    harness.send(3, reading(3))
    harness.send(1, reading(1))
    expect([0, 1, 2, 3].map(index => harness.driver(index).pollAll().length)).toEqual([0, 1, 0, 1])
  })

  it('shares the disk among its queues when it is busy', () => {
    const { disk, harness } = bench({ depth: 2 }, 2)
    disk.isHolding = true
    for (const sector of [0, 1, 2, 3, 4, 5]) harness.driver(0).add(reading(sector))
    harness.driver(1).add(reading(9))
    harness.driver(0).kick()
    harness.driver(1).kick()
    disk.complete()
    disk.complete()
    disk.complete()
    expect(harness.driver(1).pollAll()).toHaveLength(1)
    expect(harness.driver(0).pollAll().length).toBeLessThan(6)
  })

  it('counts what it did', () => {
    const { harness } = bench()
    for (const request of [reading(), reading(), writing(), { out: [blkHeader(4)], in: [1] }])
      harness.request(0, request)
    expect(harness.device.statistics).toEqual({
      reads: 2,
      writes: 1,
      flushes: 1,
      discards: 0,
      bytesRead: 1024,
      bytesWritten: 512,
      errors: 0,
    })
  })
})

describe('VirtioBlk as a cache', () => {
  it.each([
    ['that took no cache features', 0n, writing(), ['write 0 512', 'flush']],
    ['that can flush', VIRTIO_BLK_F_FLUSH, writing(), ['write 0 512']],
    ['that can also switch', CACHES, writing(), ['write 0 512']],
    ['that can switch and not flush', VIRTIO_BLK_F_CONFIG_WCE, writing(), ['write 0 512', 'flush']],
    ['that took no cache features and writes zeroes', 0n, zeroing, ['writeZeroes 0 512', 'flush']],
    ['that took no cache features and only reads', 0n, reading(), ['read 0 512']],
  ])('makes writes stable for a driver %s as it expects', (_, features, request, log) => {
    const { disk, harness } = bench({ features })
    expect(blkAnswer(harness.request(0, request)).status).toBe(0)
    expect(disk.log).toEqual(log)
  })

  it('answers a write-through write only after the flush', () => {
    const { disk, harness } = bench({ features: 0n })
    disk.isHolding = true
    harness.send(0, writing())
    disk.complete()
    expect(disk.log).toEqual(['write 0 512', 'flush'])
    expect(harness.driver(0).poll()).toBeUndefined()
    disk.complete()
    expect(harness.driver(0).pollAll()).toHaveLength(1)
  })

  it('answers with an error when the flush after a write fails', () => {
    const { disk, harness } = bench({ features: 0n })
    disk.isHolding = true
    harness.send(0, writing())
    disk.complete()
    disk.errno = 5
    disk.complete()
    expect(blkAnswer(harness.receive(0)).status).toBe(1)
  })

  it('is switched by the driver, and back by a reset', () => {
    const { disk, harness } = bench({ features: CACHES })
    const { device } = harness
    device.writeConfig!(WRITEBACK, 1, 0)
    harness.request(0, writing(1))
    device.writeConfig!(WRITEBACK, 1, 1)
    harness.request(0, writing(2))
    expect(disk.log).toEqual(['write 512 512', 'flush', 'write 1024 512'])
    device.writeConfig!(WRITEBACK, 1, 0)
    harness.reset()
    expect(device.config[WRITEBACK]).toBe(1)
  })

  it.each([
    ['without CONFIG_WCE', VIRTIO_BLK_F_FLUSH, WRITEBACK, 1, 0, 1],
    ['in a wider access', CACHES, WRITEBACK - 2, 4, 0xff00ffff, 0],
    ['beside it', CACHES, WRITEBACK + 1, 1, 0, 1],
    ['before it', CACHES, WRITEBACK - 4, 4, 0, 1],
    ['to any other value', CACHES, WRITEBACK, 1, 0x80, 1],
  ])('takes a write of the configuration %s for what it is', (_, features, offset, size, value, writeback) => {
    const { harness } = bench({ features })
    const before = harness.device.config.slice().with(WRITEBACK, writeback)
    harness.device.writeConfig!(offset, size, value)
    expect(harness.device.config).toEqual(before)
  })
})

describe('VirtioBlk.reset', () => {
  it('forgets what was negotiated, too, when it comes before DRIVER_OK', () => {
    const blk = device(new MemoryDisk())
    const driver = new VirtioPciDriver(blk)
    driver.negotiate(CACHES & ~VIRTIO_BLK_F_FLUSH)
    const before = blk.config[WRITEBACK]
    driver.write('deviceStatus', 0)
    blk.writeConfig(WRITEBACK, 1, 0)
    expect([before, blk.config[WRITEBACK]]).toEqual([0, 1])
    driver.close()
  })

  it('waits for what is under way, and then answers nobody', () => {
    const { disk, harness } = bench()
    disk.isHolding = true
    harness.send(0, reading())
    const driver = harness.driver(0)
    expect(harness.reset()).toBe(false)
    let done = false
    harness.device.reset(() => {
      done = true
    })
    disk.complete()
    expect(done).toBe(true)
    expect(driver.poll()).toBeUndefined()
  })

  it('does not start the second half of a write-through write', () => {
    const { disk, harness } = bench({ features: 0n })
    disk.isHolding = true
    harness.send(0, writing())
    harness.reset()
    disk.complete()
    expect(disk.log).toEqual(['write 0 512'])
  })

  it('leaves a device that can be used again', () => {
    const { disk, harness } = bench({ depth: 2 })
    disk.isHolding = true
    for (const sector of [0, 1, 2, 3]) harness.send(0, reading(sector))
    expect(harness.reset(() => disk.complete())).toBe(true)
    disk.isHolding = false
    harness.activate()
    expect(blkAnswer(harness.request(0, reading(5))).data).toEqual(disk.bytes.slice(2560, 3072))
  })

  it('is done at once when nothing is under way', () => {
    expect(bench().harness.reset()).toBe(true)
  })
})

describe('VirtioBlk.resetQueue', () => {
  it('waits for that queue alone', () => {
    const { disk, harness } = bench({}, 2)
    disk.isHolding = true
    harness.send(0, reading(0))
    harness.send(1, reading(1))
    expect(harness.resetQueue(0)).toBe(false)
    let done = false
    harness.device.resetQueue(0, () => {
      done = true
    })
    disk.complete(1)
    expect(done).toBe(true)
    disk.complete()
    expect(harness.driver(1).pollAll()).toHaveLength(1)
  })

  it('leaves a queue that can be enabled again', () => {
    const { harness } = bench({}, 2)
    expect(harness.resetQueue(1)).toBe(true)
    harness.enableQueue(1)
    expect(blkAnswer(harness.request(1, reading())).status).toBe(0)
  })
})

describe('VirtioBlk.close', () => {
  it('finishes what is under way and closes the disk', () => {
    const { disk, harness } = bench()
    disk.isHolding = true
    harness.send(0, writing(3))
    harness.device.close()
    expect(disk.closed).toBe(true)
    expect(disk.bytes.slice(1536, 2048)).toEqual(new Uint8Array(512))
    expect(harness.driver(0).poll()).toBeUndefined()
  })
})

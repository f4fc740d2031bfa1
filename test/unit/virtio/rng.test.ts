import { describe, expect, it } from 'vitest'
import type { Extents } from '../../../src/memory/extents.ts'
import { VIRTIO_F_RING_EVENT_IDX } from '../../../src/virtio/features.ts'
import { type EntropySource, Rng } from '../../../src/virtio/rng.ts'
import { deviceHarness } from '../../support/device-harness.ts'

const KIB = 1024

/** Gives sevens, as many as are asked for. */
const SEVENS: EntropySource = { fill: (buffer: Extents, length: number) => buffer.fill(0, 7, length) }

function setUp(source = SEVENS) {
  const deferred: (() => void)[] = []
  const device = new Rng({ name: 'rng', source, defer: task => deferred.push(task) })
  const harness = deviceHarness(device, { features: VIRTIO_F_RING_EVENT_IDX })
  return { device, harness, deferred }
}

describe('Rng', () => {
  it('fills a buffer', () => {
    const { harness } = setUp()
    expect(harness.request(0, { in: [5] })).toMatchObject({ written: 5, in: [Uint8Array.of(7, 7, 7, 7, 7)] })
  })

  it('fills a buffer in pieces', () => {
    const { harness } = setUp()
    expect(harness.request(0, { in: [1, 2] }).in).toEqual([Uint8Array.of(7), Uint8Array.of(7, 7)])
  })

  it('fills the first 64 KiB of a larger buffer', () => {
    const { harness } = setUp()
    expect(harness.request(0, { in: [100 * KIB] }).written).toBe(64 * KIB)
  })

  it('says how much its source had', () => {
    const { harness } = setUp({ fill: (buffer, length) => buffer.fill(0, 1, Math.min(length, 3)) })
    expect(harness.request(0, { in: [5] }).written).toBe(3)
  })

  it('gives back a buffer that it may only read', () => {
    const { harness } = setUp()
    expect(harness.request(0, { out: [new Uint8Array(4)] }).written).toBe(0)
  })

  it('serves 256 KiB at a time, and the rest after others had their turn', () => {
    const { harness, deferred } = setUp()
    const driver = harness.driver(0)
    Array.from({ length: 6 }, () => driver.add({ in: [64 * KIB] }))
    driver.kick()
    expect(driver.pollAll()).toHaveLength(4)
    expect(deferred).toHaveLength(1)
    deferred[0]?.()
    expect(driver.pollAll()).toHaveLength(2)
  })

  it('interrupts once for a batch', () => {
    const { harness } = setUp()
    const driver = harness.driver(0)
    Array.from({ length: 4 }, () => driver.add({ in: [8] }))
    driver.kick()
    expect(driver.interrupts).toBe(1)
  })

  it('asks for a notification of the next request', () => {
    const { harness } = setUp()
    harness.request(0, { in: [8] })
    harness.request(0, { in: [8] })
    expect(harness.driver(0).kicks).toBe(2)
  })

  it('stops at a broken queue', () => {
    const { harness, deferred } = setUp()
    harness.driver(0).split?.setAvailIdx(1000)
    harness.driver(0).kick()
    harness.device.notify(0)
    expect(harness.resetReasons).toHaveLength(1)
    expect(deferred).toHaveLength(0)
  })

  it('does nothing after a reset, not even what it put off', () => {
    const { harness, deferred, device } = setUp()
    const driver = harness.driver(0)
    Array.from({ length: 6 }, () => driver.add({ in: [64 * KIB] }))
    driver.kick()
    harness.reset()
    deferred[0]?.()
    expect(device.statistics.bytes).toBe(256 * KIB)
  })

  it('works again after a reset', () => {
    const { harness } = setUp()
    harness.reset()
    harness.activate()
    expect(harness.request(0, { in: [5] }).written).toBe(5)
  })

  it('works again after a reset of its queue', () => {
    const { harness } = setUp()
    harness.resetQueue(0)
    harness.enableQueue(0)
    expect(harness.request(0, { in: [5] }).written).toBe(5)
  })
})

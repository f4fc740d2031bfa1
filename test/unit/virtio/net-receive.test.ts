import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import { ChangingSpace } from '../../support/changing-space.ts'
import { deviceHarness } from '../../support/device-harness.ts'
import { FakeNetBackend } from './fake-net-backend.ts'
import { frame, GUEST_MAC, packet } from './net-frames.ts'

const RX = 0

describe('VirtioNet receive', () => {
  it.each([
    { ring: 'split', ringFeatures: 0n },
    { ring: 'packed', ringFeatures: VIRTIO_F_RING_PACKED },
  ])('loses no $ring buffer that it held before one without room for a header', ({ ringFeatures }) => {
    const backend = new FakeNetBackend()
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
    const features = device.features | ringFeatures
    const harness = deviceHarness(device, { features, space: ({ memory }) => new ChangingSpace(memory) })
    const driver = harness.driver(RX)
    const first = driver.add({ in: [2000] })
    const small = driver.add({ in: [1, 1, 1] })
    const last = driver.add({ in: [2000] })
    driver.kick()
    // The device gives back what it holds, and takes it again.
    Object.assign(harness.space, { version: 1 })
    backend.arrive(packet(frame(60)), packet(frame(61)))
    expect(driver.pollAll().map(({ token, written }) => ({ token, written }))).toEqual([
      { token: first, written: 72 },
      { token: small, written: 0 },
      { token: last, written: 73 },
    ])
    expect(harness.resetReasons).toEqual([])
  })
})

import { describe, expect, it } from 'vitest'
import {
  VIRTIO_F_RING_EVENT_IDX,
  VIRTIO_F_RING_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
} from '../../../src/virtio/features.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import {
  GUEST_OFFLOADS,
  HOST_OFFLOADS,
  VIRTIO_NET_F_CSUM,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_GUEST_CSUM,
  VIRTIO_NET_F_GUEST_TSO4,
  VIRTIO_NET_F_HOST_TSO4,
  VIRTIO_NET_F_MAC,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MTU,
} from '../../../src/virtio/net-features.ts'
import { ChangingSpace } from '../../support/changing-space.ts'
import { type DeviceHarness, deviceHarness } from '../../support/device-harness.ts'
import { FakeNetBackend, type FakeNetOptions } from './fake-net-backend.ts'
import { frame, GUEST_MAC, header, joined, packet } from './net-frames.ts'

const RX = 0
const TX = 1

const RINGS = [
  { ring: 'split', features: 0n },
  { ring: 'split with indexes and tables', features: VIRTIO_F_RING_EVENT_IDX | VIRTIO_F_RING_INDIRECT_DESC },
  { ring: 'packed', features: VIRTIO_F_RING_PACKED },
  { ring: 'packed with events', features: VIRTIO_F_RING_PACKED | VIRTIO_F_RING_EVENT_IDX },
]

interface Bench {
  readonly backend: FakeNetBackend
  readonly device: VirtioNet
  readonly harness: DeviceHarness
}

function bench(options: FakeNetOptions & { ringFeatures?: bigint; without?: bigint; queueSize?: number } = {}): Bench {
  const backend = new FakeNetBackend(options)
  const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
  const features = (device.features & ~(options.without ?? 0n)) | (options.ringFeatures ?? 0n)
  const { queueSize } = options
  const harness = deviceHarness(device, { features, ...(queueSize === undefined ? {} : { queueSize }) })
  return { backend, device, harness }
}

/** Posts `count` receive buffers of `size` bytes. */
function post(harness: DeviceHarness, count: number, size: number, queue = RX): void {
  for (let i = 0; i < count; i++) harness.driver(queue).add({ in: [size] })
  harness.driver(queue).kick()
}

/** Makes packets of 60, 61, ... bytes available to send. */
function addPackets(harness: DeviceHarness, count: number): void {
  for (let i = 0; i < count; i++) harness.driver(TX).add({ out: [packet(frame(60 + i))] })
}

/** How much of each receive buffer was used. */
function written(harness: DeviceHarness): readonly number[] {
  return harness
    .driver(RX)
    .pollAll()
    .map(used => used.written)
}

const WITHOUT_MERGING = 1n << 15n

describe.each(RINGS)('VirtioNet on a $ring ring', ({ features }) => {
  it('sends what the driver put into several buffers', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    const body = frame(100)
    const used = harness.request(TX, { out: [header(), body.subarray(0, 20), body.subarray(20)] })
    expect(used.written).toBe(0)
    expect(backend.port.sent).toEqual([packet(body)])
  })

  it('spreads a packet over the buffers that it needs, and says how many', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    post(harness, 8, 1000)
    const body = frame(2500)
    backend.arrive(packet(body))
    const used = harness.driver(RX).pollAll()
    expect(used.map(({ written }) => written)).toEqual([1000, 1000, 512])
    expect(joined(used.flatMap(entry => entry.in)).subarray(0, 2512)).toEqual(packet(body, header({ numBuffers: 3 })))
  })

  it('goes on with the buffers that a packet left over', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    post(harness, 6, 1000)
    backend.arrive(packet(frame(1500)), packet(frame(60)), packet(frame(1988)))
    expect(written(harness)).toEqual([1000, 512, 72, 1000, 1000])
  })

  it('keeps packets until the driver has buffers for them', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    backend.arrive(packet(frame(60)), packet(frame(61)))
    expect(backend.port.incoming).toHaveLength(2)
    post(harness, 2, 1526)
    expect(written(harness)).toEqual([72, 73])
  })

  it('waits for the rest of the buffers of a large packet', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    post(harness, 2, 1000)
    backend.arrive(packet(frame(3000)))
    expect(harness.driver(RX).poll()).toBeUndefined()
    post(harness, 2, 1000)
    expect(written(harness)).toEqual([1000, 1000, 1000, 12])
  })

  it('drops a packet that is larger than all buffers of a full ring, and delivers the next', () => {
    const { backend, harness, device } = bench({ ringFeatures: features, queueSize: 4 })
    post(harness, 4, 100)
    backend.arrive(packet(frame(1000)), packet(frame(60)))
    expect(written(harness)).toEqual([72])
    expect(device.statistics).toMatchObject({ rxDropped: 1, rxPackets: 1 })
  })

  it('drops a packet that is larger than the one buffer it may take', () => {
    const { backend, harness, device } = bench({ ringFeatures: features, without: WITHOUT_MERGING })
    post(harness, 4, 200)
    backend.arrive(packet(frame(189)), packet(frame(188)))
    const [used, ...more] = harness.driver(RX).pollAll()
    expect(more).toEqual([])
    expect(used?.in[0]).toEqual(packet(frame(188), header({ numBuffers: 1 })))
    expect(device.statistics).toMatchObject({ rxDropped: 1, rxPackets: 1 })
  })

  it('asks for no notification of receive buffers while it has some', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    const driver = harness.driver(RX)
    post(harness, 4, 1526)
    backend.arrive(packet(frame(60)))
    const { kicks } = driver
    post(harness, 1, 1526)
    post(harness, 1, 1526)
    expect(driver.kicks).toBe(kicks)
    backend.arrive(...Array.from({ length: 6 }, () => packet(frame(60))))
    expect(driver.pollAll()).toHaveLength(6)
    post(harness, 1, 1526)
    expect(driver.kicks).toBe(kicks + 1)
  })

  it('sends many packets with one notification and one interrupt', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    const driver = harness.driver(TX)
    const interrupts = driver.interrupts
    addPackets(harness, 10)
    driver.kick()
    expect(backend.port.sent.map(({ length }) => length)).toEqual([72, 73, 74, 75, 76, 77, 78, 79, 80, 81])
    expect(driver.interrupts - interrupts).toBe(1)
    expect(driver.pollAll()).toHaveLength(10)
  })

  it('sends no more than a bounded number at a time, and the rest later', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    const driver = harness.driver(TX)
    addPackets(harness, 100)
    driver.kick()
    expect(backend.port.sent).toHaveLength(64)
    backend.runDeferred()
    expect(backend.port.sent).toHaveLength(100)
    expect(driver.pollAll()).toHaveLength(100)
  })

  it('keeps a packet that the host has no room for', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    const driver = harness.driver(TX)
    backend.port.capacity = 1
    addPackets(harness, 3)
    driver.kick()
    expect(driver.pollAll()).toHaveLength(1)
    backend.port.capacity = 5
    backend.events.writable(0)
    expect(driver.pollAll()).toHaveLength(2)
    expect(backend.port.sent.map(({ length }) => length)).toEqual([72, 73, 74])
  })

  it('translates the buffers that it holds anew when translations change', () => {
    const spaces: ChangingSpace[] = []
    const backend = new FakeNetBackend()
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
    const harness = deviceHarness(device, {
      features: device.features | features,
      space: ({ memory }) => {
        const space = new ChangingSpace(memory)
        spaces.push(space)
        return space
      },
    })
    post(harness, 8, 1000)
    backend.arrive(packet(frame(1500)))
    const [space] = spaces as [ChangingSpace]
    space.version++
    space.translated = 0
    backend.arrive(packet(frame(60)))
    expect(space.translated).toBeGreaterThanOrEqual(6)
    expect(written(harness)).toEqual([1000, 512, 72])
    post(harness, 2, 1000)
    backend.arrive(packet(frame(4000)))
    expect(written(harness)).toEqual([1000, 1000, 1000, 1000, 12])
  })

  it('works again after a reset with buffers that it had taken', () => {
    const { backend, harness } = bench({ ringFeatures: features })
    post(harness, 8, 1526)
    backend.arrive(packet(frame(60)))
    expect(harness.reset()).toBe(true)
    backend.arrive(packet(frame(61)))
    expect(backend.port.roomBytes).toBe(0)
    harness.activate()
    post(harness, 1, 1526)
    expect(harness.driver(RX).poll()?.written).toBe(73)
  })

  it('works again after the reset of a queue', () => {
    const { backend, harness, device } = bench({ ringFeatures: features })
    post(harness, 8, 1526)
    backend.arrive(packet(frame(60)))
    expect(harness.resetQueue(RX)).toBe(true)
    expect(backend.port.roomBytes).toBe(0)
    harness.enableQueue(RX)
    device.notify(RX)
    post(harness, 1, 1526)
    backend.arrive(packet(frame(61)))
    expect(harness.driver(RX).poll()?.written).toBe(73)
  })
})

describe('VirtioNet', () => {
  it('shows address, link, pairs and MTU', () => {
    const backend = new FakeNetBackend({ pairs: 3 })
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, mtu: 9000, backend })
    expect([...device.config]).toEqual([2, 0, 0, 0, 0, 1, 1, 0, 3, 0, 0x28, 0x23])
    expect(device.features & VIRTIO_NET_F_MTU).toBe(VIRTIO_NET_F_MTU)
    expect(device.queueSizes).toEqual([256, 256, 256, 256, 256, 256, 64])
  })

  it('offers neither several pairs nor an MTU nor offloads that it does not have', () => {
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend: new FakeNetBackend() })
    expect(device.features & (VIRTIO_NET_F_MQ | VIRTIO_NET_F_MTU | GUEST_OFFLOADS | HOST_OFFLOADS)).toBe(0n)
    expect(device.features & VIRTIO_NET_F_MAC).toBe(VIRTIO_NET_F_MAC)
  })

  it.each([
    ['segmentation without checksums', VIRTIO_NET_F_HOST_TSO4, false],
    ['both', VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_CSUM, true],
    ['large packets without checksums', VIRTIO_NET_F_GUEST_TSO4, false],
    ['both ways in', VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_CSUM, true],
    ['pairs without a control queue', VIRTIO_NET_F_MQ, false],
    ['pairs with it', VIRTIO_NET_F_MQ | VIRTIO_NET_F_CTRL_VQ, true],
  ])('answers %s as the specification says', (_, features, expected) => {
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend: new FakeNetBackend() })
    expect(device.acceptFeatures(features)).toBe(expected)
  })

  it('hands the header over when the driver takes unfinished packets', () => {
    const { backend, harness } = bench({ offloads: GUEST_OFFLOADS | HOST_OFFLOADS })
    post(harness, 2, 1526)
    const before = header({ flags: 1, csumStart: 34, csumOffset: 16 })
    backend.arrive(packet(frame(80), before))
    expect(harness.driver(RX).poll()?.in[0]?.subarray(0, 12)).toEqual(
      header({ flags: 1, csumStart: 34, csumOffset: 16, numBuffers: 1 }),
    )
    expect(backend.guestOffloads).toBe(GUEST_OFFLOADS)
  })

  it('hands over an empty header when the driver does not', () => {
    const { backend, harness } = bench({ offloads: GUEST_OFFLOADS | HOST_OFFLOADS, without: GUEST_OFFLOADS })
    post(harness, 2, 1526)
    backend.arrive(packet(frame(80), header({ flags: 2 })))
    expect(harness.driver(RX).poll()?.in[0]?.subarray(0, 12)).toEqual(header({ numBuffers: 1 }))
    expect(backend.guestOffloads).toBe(0n)
  })

  it('writes a header that lies in two buffers', () => {
    const { backend, harness } = bench()
    harness.driver(RX).add({ in: [5, 7, 1514] })
    harness.driver(RX).kick()
    backend.arrive(packet(frame(80), header({ flags: 2 })))
    const used = harness.driver(RX).poll()
    expect(joined(used?.in ?? []).subarray(0, 92)).toEqual(packet(frame(80), header({ numBuffers: 1 })))
  })

  it('receives into a buffer that crosses windows of memory', () => {
    const { backend, harness } = bench()
    harness.driver(RX).add({ in: [2000], place: 'crossing' })
    harness.driver(RX).kick()
    backend.arrive(packet(frame(1514)))
    expect(harness.driver(RX).poll()?.in[0]?.subarray(0, 1526)).toEqual(packet(frame(1514), header({ numBuffers: 1 })))
  })

  it('gives a buffer without room for a header back, and takes the next', () => {
    const { backend, harness } = bench()
    harness.driver(RX).add({ in: [11] })
    post(harness, 1, 1526)
    backend.arrive(packet(frame(60)))
    expect(written(harness)).toEqual([0, 72])
    expect(harness.logged).toHaveLength(1)
  })

  it.each([
    ['no header', new Uint8Array(11), 'without a header'],
    ['nothing', new Uint8Array(0), 'without a header'],
    ['no Ethernet header', new Uint8Array(12 + 13), 'without an Ethernet header'],
    ['more than 64 KiB', new Uint8Array(12 + 65_554), 'over 64 KiB'],
    ['csum_start outside', packet(frame(60), header({ flags: 1, csumStart: 60 })), 'outside of the packet'],
    ['csum_offset outside', packet(frame(60), header({ flags: 1, csumStart: 40, csumOffset: 19 })), 'outside'],
    [
      'the largest csum_start',
      packet(frame(60), header({ flags: 1, csumStart: 65_535, csumOffset: 65_535 })),
      'outside',
    ],
    ['an unknown gso_type', packet(frame(60), header({ flags: 1, gsoType: 2, gsoSize: 9 })), 'not negotiated'],
    ['UDP fragmentation', packet(frame(60), header({ flags: 1, gsoType: 3, gsoSize: 9 })), 'not negotiated'],
    ['gso_size 0', packet(frame(60), header({ flags: 1, gsoType: 1 })), 'gso_size 0'],
    ['segmentation alone', packet(frame(60), header({ gsoType: 1, gsoSize: 9 })), 'without a checksum'],
  ])('drops a packet with %s', (_, bytes, reason) => {
    const { backend, harness, device } = bench({ offloads: GUEST_OFFLOADS | HOST_OFFLOADS })
    harness.request(TX, { out: [bytes] })
    expect(backend.port.sent).toEqual([])
    expect(harness.logged).toEqual([expect.stringContaining(reason)])
    expect(device.statistics).toMatchObject({ txDropped: 1, txPackets: 0 })
    harness.request(TX, { out: [packet(frame(60))] })
    expect(backend.port.sent).toHaveLength(1)
  })

  it.each([
    ['a checksum', header({ flags: 1, csumStart: 34, csumOffset: 16 })],
    ['segmentation', header({ flags: 1, csumStart: 34, csumOffset: 16, gsoType: 0x81, gsoSize: 1448 })],
  ])('passes a request for %s on only where that was negotiated', (_, before) => {
    const able = bench({ offloads: HOST_OFFLOADS })
    able.harness.request(TX, { out: [packet(frame(100), before)] })
    expect(able.backend.port.sent).toEqual([packet(frame(100), before)])
    const unable = bench()
    unable.harness.request(TX, { out: [packet(frame(100), before)] })
    expect(unable.backend.port.sent).toEqual([])
  })

  it('tells the driver that the link went down', () => {
    const { backend, harness, device } = bench()
    backend.linkUp = false
    backend.events.linkChanged()
    expect(harness.configChanges).toBe(1)
    expect(device.config[6]).toBe(0)
  })

  it('touches no queue before the driver is ready, and closes its backend', () => {
    const backend = new FakeNetBackend()
    const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
    device.notify(TX)
    backend.arrive(packet(frame(60)))
    expect(backend.port.incoming).toHaveLength(1)
    device.close()
    expect(backend.isClosed).toBe(true)
  })
})

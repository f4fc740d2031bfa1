import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { TapBackend } from '../../../src/backend/tap.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { openTap, setInterfaceMtu, setInterfaceUp, setTapHeaderSize } from '../../../src/host/tap.ts'
import { VIRTIO_F_RING_EVENT_IDX } from '../../../src/virtio/features.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import { GUEST_OFFLOADS } from '../../../src/virtio/net-features.ts'
import { type DeviceHarness, deviceHarness } from '../../support/device-harness.ts'
import { PACKET_HEADER, PacketSocket } from '../../support/packet-socket.ts'
import { describeUnless } from '../../support/skip.ts'
import { missingTap, tapName } from '../../support/tap.ts'
import { frame, GUEST_MAC, header, joined, packet } from '../virtio/net-frames.ts'

const ETHER_TYPE = 0x88b5
const IPV4 = 0x0800
const HOST_MAC = Uint8Array.of(0x02, 0xff, 0, 0, 0, 2)

interface Bench extends Disposable {
  readonly name: string
  readonly loop: EventLoop
  readonly device: VirtioNet
  readonly harness: DeviceHarness
  readonly warnings: string[]
}

interface BenchOptions {
  readonly queues?: number
  readonly mtu?: number
  readonly without?: bigint
}

/** A device on a new tap. */
function bench({ queues = 1, mtu = 1500, without = 0n }: BenchOptions = {}): Bench {
  const name = tapName('n')
  const fds = Array.from({ length: queues }, () => openTap(name, queues > 1).fd)
  for (const fd of fds) setTapHeaderSize(fd, 12)
  setInterfaceMtu(name, mtu)
  setInterfaceUp(name)
  const loop = new EventLoop()
  const warnings: string[] = []
  const backend = new TapBackend(fds, loop, message => warnings.push(message))
  const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
  const harness = deviceHarness(device, {
    features: (device.features | VIRTIO_F_RING_EVENT_IDX) & ~without,
    real: true,
  })
  return {
    name,
    loop,
    device,
    harness,
    warnings,
    [Symbol.dispose]() {
      harness[Symbol.dispose]()
      for (const fd of fds) closeFd(fd)
      loop[Symbol.dispose]()
    },
  }
}

/** Waits for a frame of the test's own among what the host sends by itself. */
function receive({ harness, loop }: Bench, queue = 0): { written: number; bytes: Uint8Array } {
  for (;;) {
    const used = harness.receive(queue, () => loop.wait(1000))
    const bytes = joined(used.in)
    if (((bytes[24] as number) << 8) + (bytes[25] as number) === ETHER_TYPE) return { written: used.written, bytes }
  }
}

/** Bytes that came in. */
function received({ device }: Bench): number {
  return device.statistics['rxBytes'] ?? 0
}

/** Lets the device go on until `isDone`; gives up after many events. */
function waitFor({ loop }: Bench, isDone: () => boolean): void {
  for (let i = 0; i < 100 && !isDone(); i++) loop.wait(1000)
}

function post(harness: DeviceHarness, count: number, size: number, queue = 0): void {
  for (let i = 0; i < count; i++) harness.driver(queue).add({ in: [size] })
  harness.driver(queue).kick()
}

/** An Ethernet frame with TCP over IPv4 whose checksum is left to the host, as a driver makes it. */
function tcpFrame(size: number, destination: Uint8Array): Uint8Array {
  const body = frame(size, destination)
  const view = new DataView(body.buffer)
  view.setUint16(12, IPV4)
  body.set([0x45, 0], 14)
  view.setUint16(16, size - 14)
  body.set([0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2], 18)
  view.setUint16(24, internetChecksum(body.subarray(14, 34)))
  body.set([0x50, 0x10], 34 + 12)
  // The pseudo header's sum, uninverted: what the host goes on from.
  const pseudo = [...body.subarray(26, 34), 0, 6, (size - 34) >> 8, (size - 34) & 0xff]
  view.setUint16(34 + 16, ~internetChecksum(Uint8Array.from(pseudo)) & 0xffff)
  return body
}

function internetChecksum(bytes: Uint8Array): number {
  let sum = 0
  for (const [index, byte] of bytes.entries()) sum += index % 2 === 0 ? byte << 8 : byte
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

const CHECKSUM_AND_SEGMENTS = { flags: 1, gsoType: 1, hdrLen: 54, gsoSize: 1446, csumStart: 34, csumOffset: 16 }

describeUnless(missingTap(), 'TapBackend', () => {
  it('takes frames from the guest to the host', () => {
    using guest = bench()
    using host = new PacketSocket(guest.name, { etherType: ETHER_TYPE })
    const bodies = [60, 61, 1000, 1514].map(size => frame(size, HOST_MAC))
    const send = (body: Uint8Array) =>
      guest.harness.request(1, { out: [header(), body.subarray(0, 30), body.subarray(30)] })
    expect(bodies.map(body => send(body).written)).toEqual([0, 0, 0, 0])
    expect(bodies.map(() => host.receive())).toEqual(bodies)
  })

  it('takes frames from the host to the guest', () => {
    using guest = bench()
    using host = new PacketSocket(guest.name, { etherType: ETHER_TYPE })
    post(guest.harness, 32, 600)
    host.send(frame(1400))
    host.send(frame(60, GUEST_MAC, 3))
    const first = receive(guest)
    expect(first.written).toBe(600)
    expect(first.bytes).toEqual(packet(frame(1400), header({ numBuffers: 3 })).subarray(0, 600))
  })

  it('receives one frame per buffer where buffers are not merged, and drops what is too large', () => {
    using guest = bench({ mtu: 4000, without: 1n << 15n })
    using host = new PacketSocket(guest.name, { etherType: ETHER_TYPE })
    post(guest.harness, 64, 1526)
    host.send(frame(1515))
    host.send(frame(1514))
    expect(receive(guest).bytes.subarray(0, 1526)).toEqual(packet(frame(1514), header({ numBuffers: 1 })))
    expect(guest.device.statistics).toMatchObject({ rxDropped: 1 })
  })

  it('keeps a frame that is larger than the buffers until there are more', () => {
    using guest = bench({ mtu: 9000 })
    using host = new PacketSocket(guest.name, { etherType: ETHER_TYPE })
    // What the host sends by itself at the start is over when this comes back.
    post(guest.harness, 64, 1000)
    host.send(frame(60))
    receive(guest)
    guest.harness.driver(0).pollAll()
    guest.harness.reset()
    guest.harness.activate()
    post(guest.harness, 3, 1000)
    host.send(frame(5000))
    guest.loop.wait(1000)
    expect(guest.harness.driver(0).pollAll()).toEqual([])
    post(guest.harness, 3, 1000)
    const used = guest.harness.driver(0).pollAll()
    expect(joined(used.flatMap(entry => entry.in)).subarray(0, 5012)).toEqual(
      packet(frame(5000), header({ numBuffers: 6 })),
    )
  })

  it('hands a large TCP packet to the host whole', () => {
    using guest = bench()
    using host = new PacketSocket(guest.name, { etherType: IPV4 })
    const body = tcpFrame(60_000, HOST_MAC)
    guest.harness.request(1, { out: [header(CHECKSUM_AND_SEGMENTS), body] })
    expect(guest.device.statistics).toMatchObject({ txPackets: 1, txDropped: 0 })
    expect(host.receive()?.length).toBe(60_000)
  })

  it('takes a large TCP packet of the host whole', () => {
    using guest = bench()
    using host = new PacketSocket(guest.name, { etherType: IPV4, offloads: true })
    const body = tcpFrame(60_000, GUEST_MAC)
    post(guest.harness, 128, 1526)
    host.send(packet(body, header(CHECKSUM_AND_SEGMENTS).subarray(0, PACKET_HEADER)))
    const driver = guest.harness.driver(0)
    waitFor(guest, () => received(guest) >= 60_000)
    const all = joined(driver.pollAll().flatMap(used => used.in))
    const at = Buffer.from(all).indexOf(body.subarray(0, 40)) - 12
    expect(all.subarray(at, at + 12)).toEqual(header({ ...CHECKSUM_AND_SEGMENTS, numBuffers: 40 }))
    expect(all.subarray(at + 12, at + 60_012)).toEqual(body)
  })

  it('gets TCP packets cut and summed where the guest takes no unfinished ones', () => {
    using guest = bench({ without: GUEST_OFFLOADS })
    using host = new PacketSocket(guest.name, { etherType: IPV4, offloads: true })
    post(guest.harness, 128, 1526)
    host.send(packet(tcpFrame(54 + 2 * 1446, GUEST_MAC), header(CHECKSUM_AND_SEGMENTS).subarray(0, PACKET_HEADER)))
    waitFor(guest, () => received(guest) >= 3000)
    const tcp = guest.harness
      .driver(0)
      .pollAll()
      .filter(used => used.in[0]?.[12 + 23] === 6)
    expect(tcp.map(({ written }) => written)).toEqual([1512, 1512])
    expect(tcp.map(used => used.in[0]?.subarray(0, 12))).toEqual([header({ numBuffers: 1 }), header({ numBuffers: 1 })])
  })

  it('puts the queues of unused pairs aside', () => {
    using guest = bench({ queues: 4 })
    const pairs = (count: number) =>
      guest.harness.request(8, { out: [Uint8Array.of(4, 0, count, 0)], in: [1] }).in[0]?.[0]
    expect([pairs(4), pairs(2), pairs(3), pairs(1)]).toEqual([0, 0, 0, 0])
    expect(guest.warnings).toEqual([])
    using host = new PacketSocket(guest.name, { etherType: ETHER_TYPE })
    post(guest.harness, 64, 1526)
    const bodies = Array.from({ length: 8 }, (_, index) => frame(60 + index, GUEST_MAC, index))
    const sizes = bodies.map(body => {
      host.send(body)
      return receive(guest).written
    })
    expect(sizes).toEqual([72, 73, 74, 75, 76, 77, 78, 79])
  })

  it('takes the link down when the interface is removed', () => {
    using guest = bench()
    spawnSync('ip', ['link', 'delete', guest.name])
    waitFor(guest, () => guest.warnings.length > 0)
    expect(guest.warnings).toEqual(['a tap interface of the guest is gone: its link is down'])
    expect(guest.device.config[6]).toBe(0)
  })
})

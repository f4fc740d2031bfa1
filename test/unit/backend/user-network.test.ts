import { describe, expect, it } from 'vitest'
import { UserNetworkBackend } from '../../../src/backend/user-network.ts'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { receive, SO_SNDBUF, send, setSocketOption, socketPair } from '../../../src/host/socket.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import { ChangingSpace } from '../../support/changing-space.ts'
import { type DeviceHarness, deviceHarness } from '../../support/device-harness.ts'
import { frame, GUEST_MAC, header, joined, packet } from '../virtio/net-frames.ts'

/** A frame with its length in front. */
function framed(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + body.length)
  new DataView(bytes.buffer).setUint32(0, body.length)
  bytes.set(body, 4)
  return bytes
}

class Bench implements Disposable {
  readonly loop = new EventLoop()
  readonly warnings: string[] = []
  readonly device: VirtioNet
  readonly harness: DeviceHarness
  readonly space: ChangingSpace
  private readonly fds = socketPair()
  private isOtherOpen = true

  constructor(without = 0n) {
    setSocketOption(this.fds[0], SO_SNDBUF, 4096)
    const backend = new UserNetworkBackend(this.fds[0], this.loop, message => this.warnings.push(message))
    this.device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
    this.harness = deviceHarness(this.device, {
      real: true,
      features: this.device.features & ~without,
      space: ({ memory }) => new ChangingSpace(memory),
    })
    this.space = this.harness.space as ChangingSpace
  }

  post(count: number, size: number): void {
    for (let i = 0; i < count; i++) this.harness.driver(0).add({ in: [size] })
    this.harness.driver(0).kick()
  }

  /** The other side sends bytes, and the device handles them. */
  arrive(bytes: Uint8Array): void {
    expect(send(this.fds[1], CBuffer.of(bytes).pointer, bytes.length)).toBe(bytes.length)
    this.loop.wait(1000)
  }

  /** Sends a frame as the guest. */
  send(body: Uint8Array): void {
    this.harness.driver(1).add({ out: [header(), body] })
    this.harness.driver(1).kick()
  }

  /** What the other side reads now. */
  read(): Uint8Array {
    const buffer = new CBuffer(1 << 20)
    const parts: Uint8Array[] = []
    for (;;) {
      const count = receive(this.fds[1], buffer.pointer, buffer.size)
      if (count <= 0) return joined(parts)
      parts.push(buffer.bytes.slice(0, count))
    }
  }

  received(): number[] {
    return this.harness
      .driver(0)
      .pollAll()
      .map(({ written }) => written)
  }

  /** Sends frames as the guest. */
  sendAll(bodies: readonly Uint8Array[]): void {
    for (const body of bodies) this.send(body)
  }

  /** The other side sends `bytes`, `size` at a time. */
  arriveInPieces(bytes: Uint8Array, size: number): void {
    for (let at = 0; at < bytes.length; at += size) this.arrive(bytes.subarray(at, at + size))
  }

  /** What the other side reads while the device goes on. */
  readAll(): Uint8Array {
    const parts: Uint8Array[] = []
    for (let i = 0; i < 100; i++) {
      parts.push(this.read())
      this.loop.wait(0)
    }
    return joined(parts)
  }

  closeOther(): void {
    closeFd(this.fds[1])
    this.isOtherOpen = false
  }

  [Symbol.dispose](): void {
    this.harness[Symbol.dispose]()
    closeFd(this.fds[0])
    if (this.isOtherOpen) this.closeOther()
    this.loop[Symbol.dispose]()
  }
}

describe('UserNetworkBackend', () => {
  it('puts the length before each frame', () => {
    using bench = new Bench()
    bench.send(frame(60))
    bench.send(frame(1514))
    expect(bench.read()).toEqual(joined([framed(frame(60)), framed(frame(1514))]))
    expect(bench.harness.driver(1).pollAll()).toHaveLength(2)
  })

  it('takes many frames that arrive at once, with an empty header each', () => {
    using bench = new Bench()
    bench.post(16, 1526)
    bench.arrive(joined([framed(frame(60)), framed(frame(61)), framed(frame(1514))]))
    const used = bench.harness.driver(0).pollAll()
    expect(used.map(({ written }) => written)).toEqual([72, 73, 1526])
    expect(used[2]?.in[0]).toEqual(packet(frame(1514), header({ numBuffers: 1 })))
  })

  it.each([1, 2, 3, 4, 5, 7, 700, 1513, 1517])('takes frames that arrive in pieces of %i bytes', size => {
    using bench = new Bench()
    bench.post(16, 700)
    const bytes = joined([framed(frame(1514)), framed(frame(60)), framed(frame(600))])
    bench.arriveInPieces(bytes, size)
    const used = bench.harness.driver(0).pollAll()
    expect(used.map(({ written }) => written)).toEqual([700, 700, 126, 72, 612])
    expect(joined(used.slice(0, 3).flatMap(entry => entry.in)).subarray(0, 1526)).toEqual(
      packet(frame(1514), header({ numBuffers: 3 })),
    )
  })

  it('takes the largest frame', () => {
    using bench = new Bench()
    bench.post(128, 1526)
    bench.arrive(framed(frame(65_535)))
    bench.loop.wait(0)
    const all = joined(
      bench.harness
        .driver(0)
        .pollAll()
        .flatMap(used => used.in),
    )
    expect(all.subarray(12, 12 + 65_535)).toEqual(frame(65_535))
  })

  it('leaves frames in the socket until the driver has buffers', () => {
    using bench = new Bench()
    bench.arrive(framed(frame(3000)))
    bench.post(2, 1000)
    expect(bench.received()).toEqual([])
    bench.post(2, 1000)
    expect(bench.received()).toEqual([1000, 1000, 1000, 12])
  })

  it('drops a frame that never fits, in however many pieces it arrives, and takes the next', () => {
    using bench = new Bench(1n << 15n)
    bench.post(4, 1526)
    bench.arriveInPieces(joined([framed(frame(50_000)), framed(frame(60))]), 20_000)
    expect(bench.received()).toEqual([72])
    expect(bench.device.statistics).toMatchObject({ rxDropped: 1 })
  })

  it('drops a frame that was on its way when the device was reset, and takes the next', () => {
    using bench = new Bench()
    bench.post(4, 1526)
    const bytes = joined([framed(frame(1000)), framed(frame(60))])
    bench.arrive(bytes.subarray(0, 500))
    bench.harness.reset()
    bench.harness.activate()
    bench.post(4, 1526)
    bench.arrive(bytes.subarray(500))
    expect(bench.received()).toEqual([72])
  })

  it('drops a frame that was on its way when translations changed, and takes the next', () => {
    using bench = new Bench()
    bench.post(4, 1526)
    const bytes = joined([framed(frame(1000)), framed(frame(60)), framed(frame(61))])
    bench.arrive(bytes.subarray(0, 500))
    bench.space.version++
    bench.arrive(bytes.subarray(500))
    expect(bench.received()).toEqual([72, 73])
  })

  it('sends a frame in pieces to a slow reader, whole and in order', () => {
    using bench = new Bench()
    const bodies = Array.from({ length: 30 }, (_, index) => frame(5000 + index, GUEST_MAC, index))
    bench.sendAll(bodies)
    expect(bench.device.statistics['txBlocked']).toBeGreaterThan(0)
    expect(bench.readAll()).toEqual(joined(bodies.map(framed)))
    expect(bench.harness.driver(1).pollAll()).toHaveLength(30)
  })

  it('finishes a frame that the reader had begun when the device was reset', () => {
    using bench = new Bench()
    const bodies = Array.from({ length: 10 }, (_, index) => frame(9000, GUEST_MAC, index))
    bench.sendAll(bodies)
    const sent = bench.device.statistics['txPackets'] as number
    bench.harness.reset()
    bench.harness.activate()
    expect(sent).toBeLessThan(10)
    expect(bench.readAll()).toEqual(joined(bodies.slice(0, sent).map(framed)))
  })

  it('takes the link down when the other side ends', () => {
    using bench = new Bench()
    bench.post(2, 1526)
    bench.closeOther()
    bench.loop.wait(1000)
    expect(bench.warnings).toEqual([
      "the guest's user-mode network is gone (it closed the connection): its link is down",
    ])
    expect(bench.device.config[6]).toBe(0)
    bench.send(frame(60))
    expect(bench.device.statistics).toMatchObject({ txDropped: 1 })
  })

  it('takes the link down also while the driver has no buffers', () => {
    using bench = new Bench()
    bench.closeOther()
    bench.loop.wait(1000)
    expect(bench.warnings).toHaveLength(1)
    expect(bench.harness.configChanges).toBe(1)
  })

  it('takes the link down at a frame that cannot be', () => {
    using bench = new Bench()
    bench.post(2, 1526)
    bench.arrive(Uint8Array.of(0, 2, 0, 0, 1, 2, 3))
    expect(bench.warnings[0]).toContain('it sent a frame of 131072 bytes')
  })
})

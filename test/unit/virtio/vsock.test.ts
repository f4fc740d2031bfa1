import { describe, expect, it } from 'vitest'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import {
  VIRTIO_VSOCK_OP_REQUEST as REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE as RESPONSE,
  VIRTIO_VSOCK_OP_RST as RST,
  VIRTIO_VSOCK_OP_RW as RW,
  VIRTIO_VSOCK_OP_SHUTDOWN as SHUTDOWN,
} from '../../../src/virtio/vsock-packet.ts'
import { WINDOW_BYTES } from '../../../src/virtio/vsock-stream.ts'
import { repeat } from '../../support/repeat.ts'
import { vsockConnection, vsockDevice } from '../../support/vsock-device.ts'
import { GUEST_PORT, HOST_PORT, packetBytes } from '../../support/vsock-guest.ts'

const RX = 0
const TX = 1
const RCV = 1
const SEND = 2

const counting = (length: number) => new Uint8Array(length).map((_, i) => i * 7 + (i >> 8))
const joined = (pieces: readonly { readonly data: Uint8Array }[]) =>
  Uint8Array.from(pieces.flatMap(({ data }) => [...data]))

describe('VirtioVsock connections of the guest', () => {
  it('are answered with the window there is', () => {
    const { guest } = vsockDevice()
    guest.offer(1)
    guest.send({ op: REQUEST })
    expect(guest.hear()).toMatchObject([
      { op: RESPONSE, srcPort: HOST_PORT, dstPort: GUEST_PORT, srcCid: 2, type: 1, bufAlloc: WINDOW_BYTES, fwdCnt: 0 },
    ])
  })

  it('are refused where nobody listens', () => {
    const { guest } = vsockDevice()
    guest.offer(1)
    guest.send({ op: REQUEST, dstPort: 999 })
    expect(guest.hear()).toMatchObject([{ op: RST, srcPort: 999, dstPort: GUEST_PORT, srcCid: 2, type: 1 }])
  })

  it('are refused when there are too many', () => {
    const { backend, guest, harness } = vsockDevice()
    repeat(512, i => guest.send({ op: REQUEST, srcPort: i }))
    guest.send({ op: REQUEST, srcPort: 512 })
    expect(backend.streams).toHaveLength(512)
    expect(harness.logged).toEqual(['there are too many connections'])
    guest.offer(1)
    expect(guest.hear()).toMatchObject([{ op: RST, dstPort: 512 }])
    guest.send({ op: RST, srcPort: 0 })
    guest.send({ op: REQUEST, srcPort: 513 })
    expect(backend.streams).toHaveLength(513)
  })

  it.each([
    ['split', 0n],
    ['split with event indexes', VIRTIO_F_RING_EVENT_IDX],
    ['packed', VIRTIO_F_RING_PACKED],
    ['packed with event indexes', VIRTIO_F_RING_PACKED | VIRTIO_F_RING_EVENT_IDX],
  ])('carry bytes both ways over %s queues', (_, features) => {
    const { guest, stream } = vsockConnection({ features })
    guest.write(counting(5000))
    expect(stream.take()).toEqual(counting(5000))
    stream.write(counting(10_000))
    const heard = guest.hear()
    expect(heard.map(({ op, data }) => [op, data.length])).toEqual([
      [RW, 4052],
      [RW, 4052],
      [RW, 1896],
    ])
    expect(joined(heard)).toEqual(counting(10_000))
  })

  it('fill receive buffers in any pieces', () => {
    const { harness, stream } = vsockConnection({ buffers: 0 })
    harness.send(RX, { in: [20, 30, 100] })
    stream.write(counting(50))
    const used = harness.receive(RX)
    expect(used.written).toBe(94)
    expect(Uint8Array.from(used.in.flatMap(piece => [...piece])).slice(44, 94)).toEqual(counting(50))
  })

  it('take packets whose header and data lie in any pieces', () => {
    const { harness, stream } = vsockConnection()
    const packet = packetBytes({ op: RW, data: counting(100) })
    harness.send(TX, { out: [packet.subarray(0, 10), packet.subarray(10, 50), packet.subarray(50)] })
    expect(stream.take()).toEqual(counting(100))
  })

  it('carry a megabyte in each direction whole and in order', () => {
    const { guest, stream, tasks } = vsockConnection({ buffers: 0 })
    const all = counting(2 ** 20)
    stream.write(all)
    const heard: number[] = []
    const echoed: number[] = []
    repeat(Math.ceil(all.length / 4052), () => {
      guest.offer(1)
      tasks.runAll()
      const pieces = guest.hear()
      heard.push(...joined(pieces))
      guest.write(joined(pieces), { fwdCnt: heard.length })
      echoed.push(...stream.take())
    })
    // What is left is behind credit updates that took receive buffers.
    guest.offer(64)
    const rest = joined(guest.hear())
    guest.write(rest, { fwdCnt: heard.length + rest.length })
    expect(Bun.hash(Uint8Array.from([...heard, ...rest]))).toBe(Bun.hash(all))
    expect(Bun.hash(Uint8Array.from([...echoed, ...stream.take()]))).toBe(Bun.hash(all))
  })

  it('end with RST at a second request for the same ports', () => {
    const { guest, stream } = vsockConnection()
    guest.send({ op: REQUEST })
    expect(guest.ops()).toEqual([RST])
    expect(stream.calls).toEqual(['abort'])
  })
})

describe('VirtioVsock connections of the host', () => {
  it('reach the guest, and begin when it accepts', () => {
    const { backend, guest } = vsockDevice()
    guest.offer(8)
    const { stream, hostPort } = backend.request(53)
    expect(guest.hear()).toMatchObject([{ op: REQUEST, srcPort: hostPort, dstPort: 53, bufAlloc: WINDOW_BYTES }])
    stream.write(counting(3))
    expect(guest.hear()).toEqual([])
    guest.send({ op: RESPONSE, srcPort: 53, dstPort: hostPort! })
    expect(stream.calls).toEqual([`accept ${hostPort}`])
    expect(joined(guest.hear())).toEqual(counting(3))
  })

  it('end when the guest refuses', () => {
    const { backend, guest } = vsockDevice()
    const { stream, hostPort } = backend.request(53)
    guest.send({ op: RST, srcPort: 53, dstPort: hostPort! })
    expect(stream.calls).toEqual(['abort'])
    guest.offer(1)
    expect(guest.hear()).toEqual([])
  })

  it('have ports of their own', () => {
    const { backend } = vsockDevice()
    const ports = [53, 53, 54].map(port => backend.request(port).hostPort)
    expect(new Set(ports).size).toBe(3)
  })

  it.each([
    ['data', { op: RW, data: counting(4) }],
    ['a shutdown', { op: SHUTDOWN, flags: SEND }],
    ['a request', { op: REQUEST }],
  ])('end with RST at %s instead of an answer', (_, packet) => {
    const { backend, guest } = vsockDevice()
    const { stream, hostPort } = backend.request(53)
    guest.offer(4)
    guest.send({ ...packet, srcPort: 53, dstPort: hostPort! })
    expect(guest.ops()).toContain(RST)
    expect(stream.calls).toEqual(['abort'])
  })

  it('end with RST when the program goes before the guest has answered', () => {
    const { backend, guest } = vsockDevice()
    guest.offer(4)
    const { stream } = backend.request(53)
    stream.hangUp()
    expect(guest.ops()).toEqual([REQUEST, RST])
    expect(stream.calls).toEqual(['abort'])
  })

  it('are refused while no driver is there', () => {
    const { backend, harness } = vsockDevice()
    harness.reset()
    expect(backend.request(53).hostPort).toBeUndefined()
  })
})

describe('VirtioVsock and odd packets', () => {
  it.each([
    ['an empty packet', new Uint8Array(0)],
    ['a packet shorter than a header', packetBytes({ op: REQUEST }).subarray(0, 43)],
    ['a packet of another guest', packetBytes({ op: REQUEST, srcCid: 4 })],
    ['a packet of a context id above 32 bits', packetBytes({ op: REQUEST, srcCidHigh: 1 })],
  ])('drops %s with a line in the log', (_, packet) => {
    const { guest, harness, backend } = vsockDevice()
    guest.offer(1)
    expect(harness.request(TX, { out: [packet], in: [1] }).written).toBe(0)
    expect(guest.hear()).toEqual([])
    expect(harness.logged).toHaveLength(1)
    expect(backend.streams).toEqual([])
  })

  it.each([
    ['to another context id', { op: REQUEST, dstCid: 1 }, { srcCid: 1 }],
    ['of sequential packets', { op: REQUEST, type: 2 }, { type: 2 }],
    ['of no type', { op: RW, type: 0 }, { type: 0 }],
    ['with data for no connection', { op: RW, data: counting(4) }, {}],
    ['that ends no connection', { op: SHUTDOWN, flags: RCV | SEND }, {}],
    ['that answers no request', { op: RESPONSE }, {}],
    ['with no operation', { op: 0 }, {}],
    ['with an operation that does not exist', { op: 0xffff }, {}],
  ])('answers a packet %s with RST', (_, packet, answer) => {
    const { guest } = vsockDevice()
    guest.offer(1)
    guest.send(packet)
    expect(guest.hear()).toMatchObject([
      { op: RST, srcCid: 2, type: 1, srcPort: HOST_PORT, dstPort: GUEST_PORT, ...answer },
    ])
  })

  it('never answers an RST', () => {
    const { guest } = vsockDevice()
    guest.offer(3)
    guest.send({ op: RST })
    guest.send({ op: RST, dstCid: 7 })
    guest.send({ op: RST, type: 9 })
    expect(guest.hear()).toEqual([])
  })

  it.each([
    ['more data than there is', { op: RW, data: counting(4), len: 5 }],
    ['data of 4 GiB', { op: RW, data: counting(4), len: 0xffff_ffff }],
    ['an unknown operation', { op: 8 }],
    ['a second answer', { op: RESPONSE }],
  ])('ends a connection at %s', (_, packet) => {
    const { guest, stream } = vsockConnection()
    guest.send(packet)
    expect(guest.ops()).toEqual([RST])
    expect(stream.calls).toEqual(['abort'])
    expect(stream.take()).toHaveLength(0)
  })

  it('stops taking packets when it cannot answer, and goes on when it can', () => {
    const { guest, harness, tasks } = vsockDevice()
    repeat(200, i => harness.driver(TX).add({ out: [packetBytes({ op: RW, srcPort: i })] }))
    harness.driver(TX).kick()
    tasks.runAll()
    expect(harness.driver(TX).pollAll()).toHaveLength(128)
    guest.offer(200)
    tasks.runAll()
    expect(guest.hear().map(({ dstPort }) => dstPort)).toEqual(Array.from({ length: 200 }, (_, i) => i))
    expect(harness.driver(TX).pollAll()).toHaveLength(72)
  })

  it('gives back receive buffers without room for data', () => {
    const { guest, harness } = vsockDevice()
    harness.send(RX, { in: [44] })
    harness.send(RX, { out: [new Uint8Array(64)] })
    guest.send({ op: REQUEST })
    expect(
      harness
        .driver(RX)
        .pollAll()
        .map(({ written }) => written),
    ).toEqual([0, 0])
    guest.offer(1)
    expect(guest.ops()).toEqual([RESPONSE])
  })

  it('serves connections in turn', () => {
    const { backend, guest } = vsockDevice()
    guest.offer(2)
    guest.send({ op: REQUEST, srcPort: 1 })
    guest.send({ op: REQUEST, srcPort: 2 })
    guest.hear()
    backend.streams[0]!.write(counting(10_000))
    backend.streams[1]!.write(counting(10_000))
    guest.offer(4)
    expect(guest.hear().map(({ dstPort }) => dstPort)).toEqual([1, 2, 1, 2])
  })

  it('keeps a queue broken by the driver to itself', () => {
    const { guest, harness, stream } = vsockConnection()
    harness.driver(TX).ring.add([{ address: 0x5000_0000, length: 64, write: false }], undefined)
    harness.driver(TX).kick()
    expect(harness.resetReasons).toHaveLength(1)
    stream.write(counting(3))
    expect(joined(guest.hear())).toEqual(counting(3))
  })
})

describe('VirtioVsock.reset', () => {
  it('ends all connections with what is pending, and starts anew', () => {
    const { backend, guest, harness, stream } = vsockConnection({ buffers: 0 })
    stream.write(counting(100))
    guest.send({ op: RW, srcPort: 77 })
    const { stream: second } = backend.request(53)
    expect(harness.reset()).toBe(true)
    expect([stream.calls, second.calls]).toEqual([['abort'], ['abort']])
    harness.activate()
    stream.write(counting(100))
    guest.offer(2)
    expect(guest.hear()).toEqual([])
    guest.send({ op: REQUEST })
    expect(guest.ops()).toEqual([RESPONSE])
  })

  it('does not go on with what it had put off', () => {
    const { guest, harness, tasks } = vsockDevice()
    repeat(100, i => harness.driver(TX).add({ out: [packetBytes({ op: RW, srcPort: i })] }))
    harness.driver(TX).kick()
    harness.reset()
    tasks.runAll()
    harness.activate()
    guest.offer(1)
    expect(guest.hear()).toEqual([])
  })

  it('closes the streams and the backend with the device', () => {
    const { backend, device, stream } = vsockConnection()
    device.close()
    expect(stream.calls).toEqual(['abort'])
    expect(backend.isClosed).toBe(true)
  })
})

import { describe, expect, it } from 'vitest'
import {
  VIRTIO_VSOCK_OP_CREDIT_REQUEST as CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE as CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST as REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE as RESPONSE,
  VIRTIO_VSOCK_OP_RST as RST,
  VIRTIO_VSOCK_OP_RW as RW,
  VIRTIO_VSOCK_OP_SHUTDOWN as SHUTDOWN,
} from '../../../src/virtio/vsock-packet.ts'
import { WINDOW_BYTES } from '../../../src/virtio/vsock-stream.ts'
import { vsockConnection } from '../../support/vsock-device.ts'

const RCV = 1
const SEND = 2

const counting = (length: number) => new Uint8Array(length).map((_, i) => i * 7 + (i >> 8))
const joined = (pieces: readonly { readonly data: Uint8Array }[]) =>
  Uint8Array.from(pieces.flatMap(({ data }) => [...data]))

describe('VsockConnection credit', () => {
  it('stops at what the guest has room for, asks once, and goes on when told', () => {
    const { guest, stream } = vsockConnection({ bufAlloc: 100 })
    stream.write(counting(250))
    expect(guest.hear().map(({ op, data }) => [op, data.length])).toEqual([
      [RW, 100],
      [CREDIT_REQUEST, 0],
    ])
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 100, fwdCnt: 0 })
    expect(guest.hear()).toEqual([])
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 100, fwdCnt: 70 })
    expect(guest.hear().map(({ op, data }) => [op, data.length])).toEqual([
      [RW, 70],
      [CREDIT_REQUEST, 0],
    ])
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 1000, fwdCnt: 170 })
    expect(guest.hear().map(({ op, data }) => [op, data.length])).toEqual([[RW, 80]])
  })

  it.each([
    ['that is ahead of what was sent', { bufAlloc: 1000, fwdCnt: 101 }],
    ['for a buffer smaller than what is under way', { bufAlloc: 50, fwdCnt: 0 }],
    ['of nothing', { bufAlloc: 0, fwdCnt: 0 }],
  ])('takes a count %s as no room', (_, credit) => {
    const { guest, stream } = vsockConnection({ bufAlloc: 100 })
    stream.write(counting(100))
    guest.hear()
    guest.send({ op: CREDIT_UPDATE, ...credit })
    stream.write(counting(10))
    expect(guest.hear()).toEqual([])
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 100, fwdCnt: 100 })
    expect(joined(guest.hear())).toEqual(counting(10))
  })

  it('counts on past 2^32', () => {
    const { guest, stream } = vsockConnection({ bufAlloc: 0 })
    // As after a wrap of the device's counter: 50 bytes are under way.
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 80, fwdCnt: 2 ** 32 - 50 })
    stream.write(counting(100))
    expect(joined(guest.hear())).toEqual(counting(30))
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 80, fwdCnt: 10 })
    expect(joined(guest.hear())).toEqual(counting(100).subarray(30, 90))
  })

  it('is told to the guest when half of the window is free again', () => {
    const { guest, stream } = vsockConnection()
    stream.room = 0
    guest.write(counting(WINDOW_BYTES / 2))
    guest.write(counting(WINDOW_BYTES / 2))
    expect(guest.hear()).toEqual([])
    stream.makeRoom(WINDOW_BYTES / 2 - 1)
    expect(guest.hear()).toEqual([])
    stream.makeRoom(1)
    expect(guest.hear()).toMatchObject([{ op: CREDIT_UPDATE, fwdCnt: WINDOW_BYTES / 2, bufAlloc: WINDOW_BYTES }])
    stream.makeRoom(1000)
    guest.send({ op: CREDIT_REQUEST })
    expect(guest.hear()).toMatchObject([{ op: CREDIT_UPDATE, fwdCnt: WINDOW_BYTES / 2 + 1000 }])
  })

  it('ends a connection whose guest sends more than the window', () => {
    const { guest, stream } = vsockConnection()
    stream.room = 0
    guest.write(counting(WINDOW_BYTES / 2))
    guest.write(counting(WINDOW_BYTES / 2))
    guest.write(counting(1))
    expect(guest.ops()).toEqual([RST])
    expect(stream.calls).toEqual(['abort'])
  })
})

describe('VsockConnection ends', () => {
  it('passes the end of what the guest sends on, and still receives', () => {
    const { guest, stream } = vsockConnection()
    guest.send({ op: SHUTDOWN, flags: SEND })
    guest.send({ op: SHUTDOWN, flags: SEND })
    expect(stream.calls).toEqual(['finishSending'])
    stream.write(counting(10))
    expect(joined(guest.hear())).toEqual(counting(10))
  })

  it('receives no more for a guest that does not want it', () => {
    const { guest, stream } = vsockConnection()
    guest.send({ op: SHUTDOWN, flags: RCV })
    stream.write(counting(10))
    expect(guest.hear()).toEqual([])
    guest.write(counting(3))
    expect(stream.take()).toEqual(counting(3))
    expect(stream.calls).toEqual(['stopReceiving'])
  })

  it.each([
    ['at once', [RCV | SEND], ['close']],
    ['one after the other', [SEND, RCV], ['finishSending', 'close']],
    ['with flags that do not exist', [0xffff_ffff], ['close']],
  ])('answers both ends of the guest %s with RST, and the host still gets everything', (_, flags, calls) => {
    const { guest, stream, backend } = vsockConnection()
    flags.map(value => guest.send({ op: SHUTDOWN, flags: value }))
    expect(guest.ops()).toEqual([RST])
    expect(stream.calls).toEqual(calls)
    guest.send({ op: REQUEST })
    expect(guest.ops()).toEqual([RESPONSE])
    expect(backend.streams).toHaveLength(2)
  })

  it('drops what is under way when the guest resets, and keeps it after a shutdown', () => {
    const first = vsockConnection()
    first.guest.send({ op: RST })
    expect(first.stream.calls).toEqual(['abort'])
    expect(first.guest.hear()).toEqual([])
    const second = vsockConnection()
    second.guest.send({ op: SHUTDOWN, flags: SEND })
    second.guest.send({ op: RST })
    expect(second.stream.calls).toEqual(['finishSending', 'close'])
  })

  it('tells the guest of the end after the last byte', () => {
    const { guest, stream } = vsockConnection()
    stream.write(counting(5000))
    stream.end()
    expect(guest.hear().map(({ op, flags, data }) => [op, flags, data.length])).toEqual([
      [RW, 0, 4052],
      [RW, 0, 948],
      [SHUTDOWN, SEND, 0],
    ])
    guest.write(counting(4))
    expect(stream.take()).toEqual(counting(4))
  })

  it('tells the guest that the host has gone, with all that it sent', () => {
    const { guest, stream } = vsockConnection()
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 0 })
    stream.write(counting(15))
    stream.hangUp()
    guest.send({ op: CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 10 })
    const heard = guest.hear()
    expect(joined(heard)).toEqual(counting(15))
    expect(heard.at(-1)).toMatchObject({ op: SHUTDOWN, flags: RCV | SEND })
    guest.send({ op: RST })
    guest.send({ op: CREDIT_UPDATE })
    expect(guest.ops()).toEqual([RST])
  })

  it('tells the guest that the host takes no more', () => {
    const { guest, stream } = vsockConnection()
    stream.events?.broken()
    expect(guest.hear()).toMatchObject([{ op: SHUTDOWN, flags: RCV }])
  })

  it.each([
    ['data', { op: RW, data: counting(4) }],
    ['a response', { op: RESPONSE }],
  ])('answers %s after the guest said that it would send none with RST', (_, packet) => {
    const { guest } = vsockConnection()
    guest.send({ op: SHUTDOWN, flags: SEND })
    guest.send(packet)
    expect(guest.ops()).toEqual([RST])
  })
})

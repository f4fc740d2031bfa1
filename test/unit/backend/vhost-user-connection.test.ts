import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VhostUserConnection } from '../../../src/backend/vhost-user-connection.ts'
import {
  encodeMessage,
  encodeU64,
  VHOST_USER_GET_FEATURES,
  VHOST_USER_GET_QUEUE_NUM,
  VHOST_USER_SET_FEATURES,
  VHOST_USER_SET_MEM_TABLE,
  VHOST_USER_SET_OWNER,
} from '../../../src/backend/vhost-user-protocol.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { SO_SNDBUF, setSocketOption, socketPair } from '../../../src/host/socket.ts'
import { ManualAlarm } from '../../support/manual-alarm.ts'
import { VhostUserPeer } from '../../support/vhost-user-peer.ts'

const VERSION_1 = 1
const REPLY = 4
const EIGHT_BYTES = encodeU64(7n)

let loop: EventLoop
let alarm: ManualAlarm
let peer: VhostUserPeer
let connection: VhostUserConnection
let ourEnd: number
let failures: string[]
let values: bigint[]
const keep = (value: bigint) => void values.push(value)

beforeEach(() => {
  const [ours, theirs] = socketPair()
  ourEnd = ours
  loop = new EventLoop()
  alarm = new ManualAlarm()
  peer = new VhostUserPeer(theirs)
  failures = []
  values = []
  connection = new VhostUserConnection(ours, { loop, alarm, failed: reason => void failures.push(reason) })
})

afterEach(() => {
  connection.close()
  peer[Symbol.dispose]()
  loop[Symbol.dispose]()
})

describe('VhostUserConnection', () => {
  it('gives replies to the requests in their order', () => {
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    connection.queryU64(VHOST_USER_GET_QUEUE_NUM, keep)
    peer.write(encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, encodeU64(1n << 63n)))
    peer.write(encodeMessage(VHOST_USER_GET_QUEUE_NUM, VERSION_1 | REPLY, encodeU64(2n)))
    loop.wait(0)
    expect(values).toEqual([1n << 63n, 2n])
    expect(alarm.delayMs).toBeUndefined()
  })

  it('takes a reply that comes in pieces', () => {
    const reply = encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, encodeU64(5n))
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    peer.write(reply.subarray(0, 5))
    loop.wait(0)
    peer.write(reply.subarray(5, 14))
    loop.wait(0)
    expect(values).toEqual([])
    peer.write(reply.subarray(14))
    loop.wait(0)
    expect(values).toEqual([5n])
  })

  it('asks for a status only when that was negotiated', () => {
    connection.command(VHOST_USER_SET_OWNER, new Uint8Array(0))
    connection.acknowledges = true
    connection.command(VHOST_USER_SET_FEATURES, EIGHT_BYTES)
    expect(peer.serveAll()).toEqual(['VHOST_USER_SET_OWNER', 'VHOST_USER_SET_FEATURES'])
    expect(peer.requests.map(({ flags }) => flags)).toEqual([0b0001, 0b1001])
    loop.wait(0)
    expect(failures).toEqual([])
    expect(alarm.delayMs).toBeUndefined()
  })

  it('fails when a request is refused', () => {
    connection.acknowledges = true
    peer.status = 22n
    connection.command(VHOST_USER_SET_MEM_TABLE, EIGHT_BYTES)
    peer.serve()
    loop.wait(0)
    expect(failures).toEqual(['refused VHOST_USER_SET_MEM_TABLE with status 22'])
  })

  it('passes descriptors along', () => {
    using event = EventFd.create()
    connection.command(VHOST_USER_SET_MEM_TABLE, EIGHT_BYTES, [event.fd, event.fd])
    peer.serve()
    expect(peer.last('VHOST_USER_SET_MEM_TABLE').fds).toHaveLength(2)
  })

  it.each([
    [
      'another request',
      encodeMessage(VHOST_USER_GET_QUEUE_NUM, VERSION_1 | REPLY, EIGHT_BYTES),
      /GET_QUEUE_NUM that nobody/,
    ],
    ['no reply flag', encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1, EIGHT_BYTES), /malformed reply .*flags 0x1/],
    ['another version', encodeMessage(VHOST_USER_GET_FEATURES, 2 | REPLY, EIGHT_BYTES), /malformed reply .*flags 0x6/],
    [
      'too few bytes',
      encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, new Uint8Array(4)),
      /malformed .* 4 bytes/,
    ],
    ['no bytes', encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, new Uint8Array(0)), /malformed .* 0 bytes/],
    [
      'too many',
      encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, new Uint8Array(999)),
      /malformed .* 999 bytes/,
    ],
    ['a huge size', new Uint8Array(64).fill(0xff), /request 4294967295 that nobody/],
  ])('fails on a reply with %s', (_, reply, reason) => {
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    peer.write(reply)
    loop.wait(0)
    expect(failures).toEqual([expect.stringMatching(reason)])
    expect(values).toEqual([])
    expect(alarm.delayMs).toBeUndefined()
  })

  it('fails on a reply that nobody asked for', () => {
    peer.write(encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, EIGHT_BYTES))
    loop.wait(0)
    expect(failures).toEqual(['sent a reply to VHOST_USER_GET_FEATURES that nobody waits for'])
  })

  it('fails on a descriptor that nobody asked for', () => {
    using event = EventFd.create()
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    peer.writeWith(encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, EIGHT_BYTES), event.fd)
    loop.wait(0)
    expect(failures).toEqual(['sent a descriptor that nobody asked for'])
  })

  it('fails once when the peer goes away, in the middle of a reply too', () => {
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    peer.write(encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, EIGHT_BYTES).subarray(0, 15))
    peer.mute = true
    peer.serve()
    peer.die()
    loop.wait(0)
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    connection.command(VHOST_USER_SET_OWNER, EIGHT_BYTES)
    expect(failures).toEqual(['closed the connection'])
  })

  it('fails when it sends to a peer that is gone', () => {
    peer.die()
    connection.command(VHOST_USER_SET_OWNER, EIGHT_BYTES)
    expect(failures).toEqual(['closed the connection (EPIPE)'])
  })

  it('fails when a reply does not come in time', () => {
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    expect(alarm.delayMs).toBe(10_000)
    alarm.fire()
    expect(failures).toEqual(['did not answer VHOST_USER_GET_FEATURES within 10 s'])
  })

  it('gives each reply its time', () => {
    connection.queryU64(VHOST_USER_GET_FEATURES, keep)
    connection.queryU64(VHOST_USER_GET_QUEUE_NUM, keep)
    peer.write(encodeMessage(VHOST_USER_GET_FEATURES, VERSION_1 | REPLY, EIGHT_BYTES))
    loop.wait(0)
    alarm.fire()
    expect(failures).toEqual(['did not answer VHOST_USER_GET_QUEUE_NUM within 10 s'])
  })

  it('keeps requests that the socket does not take, and sends them later', () => {
    setSocketOption(ourEnd, SO_SNDBUF, 1)
    const sent = Array.from({ length: 60 }, (_, index) => BigInt(index))
    sent.forEach(value => void connection.command(VHOST_USER_SET_FEATURES, encodeU64(value)))
    const early = peer.serveAll().length
    expect(early).toBeLessThan(sent.length)
    sent.forEach(() => {
      loop.wait(0)
      peer.serveAll()
    })
    expect(peer.requests.map(({ payload }) => payload.getBigUint64(0, true))).toEqual(sent)
    expect(failures).toEqual([])
  })

  it('gives the socket back, still open', () => {
    const fd = connection.release()
    const again = new VhostUserConnection(fd, { loop, alarm, failed: reason => void failures.push(reason) })
    again.queryU64(VHOST_USER_GET_FEATURES, keep)
    peer.value = 9n
    peer.serve()
    loop.wait(0)
    again.close()
    expect(values).toEqual([9n])
  })
})

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VhostUser, type VhostUserOffer, type VhostUserSource } from '../../../src/backend/vhost-user.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { socketPair } from '../../../src/host/socket.ts'
import type { RamBlock } from '../../../src/memory/ram.ts'
import { ManualAlarm } from '../../support/manual-alarm.ts'
import { VhostUserPeer } from '../../support/vhost-user-peer.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const PROTOCOL_FEATURES = 1n << 30n
const VERSION_1 = 1n << 32n
const EVENT_IDX = 1n << 29n
const MQ = 1n
const REPLY_ACK = 8n
const OFFER: VhostUserOffer = {
  features: PROTOCOL_FEATURES | VERSION_1 | EVENT_IDX,
  protocolFeatures: MQ | REPLY_ACK | (1n << 15n),
  queues: 2,
}
const RING = { index: 1, size: 64, desc: 0x1000, driver: 0x2000, device: 0x3000, base: 0 }
const SET_UP = ['VHOST_USER_SET_PROTOCOL_FEATURES', 'VHOST_USER_SET_OWNER', 'VHOST_USER_SET_MEM_TABLE']
const RING_SET_UP = ['NUM', 'BASE', 'ADDR', 'ERR', 'CALL', 'KICK', 'ENABLE'].map(word => `VHOST_USER_SET_VRING_${word}`)

/** Connections that the test makes. */
class TestSource implements VhostUserSource {
  events: Parameters<VhostUserSource['open']>[0] | undefined
  ends = 0

  open(events: Parameters<VhostUserSource['open']>[0]): void {
    this.events = events
  }

  end(): void {
    this.ends++
  }

  close(): void {
    this.events = undefined
  }

  /** A new connection; its other end. */
  connect(): VhostUserPeer {
    const [ours, theirs] = socketPair()
    this.events?.connected(ours)
    return new VhostUserPeer(theirs)
  }
}

let memory: VirtioMemory
let loop: EventLoop
let alarm: ManualAlarm
let source: TestSource
let backend: VhostUser
let opened: DisposableStack
let events: string[]
let warnings: string[]
const listener = {
  interrupt: (index: number) => void events.push(`interrupt ${index}`),
  lost: (reason: string) => void events.push(`lost: ${reason}`),
}
const note = (word: string) => () => void events.push(word)

function open(offer: VhostUserOffer): VhostUser {
  const ram = { fd: memory.ram!.fd, blocks: memory.ram!.blocks }
  const warn = (message: string) => void warnings.push(message)
  return new VhostUser(offer, source, { loop, alarm, memory: memory.memory, ram, warn })
}

function connect(): VhostUserPeer {
  return opened.use(source.connect())
}

beforeEach(() => {
  opened = new DisposableStack()
  memory = opened.use(new VirtioMemory({ real: true }))
  loop = opened.use(new EventLoop())
  alarm = new ManualAlarm()
  source = new TestSource()
  events = []
  warnings = []
  backend = opened.adopt(open(OFFER), used => used.close())
})

afterEach(() => opened.dispose())

describe('VhostUser', () => {
  it('introduces itself on a connection', () => {
    const peer = connect()
    expect(peer.serveAll()).toEqual(SET_UP)
    expect(peer.last('VHOST_USER_SET_PROTOCOL_FEATURES').payload.getBigUint64(0, true)).toBe(REPLY_ACK)
  })

  it('gives its RAM away: a region for each block, with the place in the file', () => {
    const peer = connect()
    peer.serveAll()
    const { payload, fds } = peer.last('VHOST_USER_SET_MEM_TABLE')
    const words = Array.from(new BigUint64Array(payload.buffer, 8))
    const blocks = memory.ram!.blocks
    expect(payload.getUint32(0, true)).toBe(3)
    expect(fds).toHaveLength(3)
    const region = ({ start, size, hostAddress }: RamBlock, at: number) =>
      [start, size, hostAddress, size * at].map(BigInt)
    expect(words).toEqual(blocks.flatMap(region))
  })

  it('hides the protocol bit from the driver, and shows it to the program', () => {
    const peer = connect()
    backend.start(VERSION_1 | (1n << 33n), listener)
    expect(backend.features).toBe(VERSION_1 | EVENT_IDX)
    expect(peer.serveAll().at(-1)).toBe('VHOST_USER_SET_FEATURES')
    // ACCESS_PLATFORM (bit 33) is between the driver and us.
    expect(peer.last('VHOST_USER_SET_FEATURES').payload.getBigUint64(0, true)).toBe(VERSION_1 | PROTOCOL_FEATURES)
  })

  it('starts a ring with its addresses in this process', () => {
    const peer = connect()
    peer.serveAll()
    backend.startRing({ ...RING, base: 7 })
    expect(peer.serveAll()).toEqual(RING_SET_UP)
    const host = BigInt(memory.ram!.blocks[0]!.hostAddress)
    const address = peer.last('VHOST_USER_SET_VRING_ADDR').payload
    const fields = [8, 16, 24].map(at => address.getBigUint64(at, true))
    expect(fields).toEqual([host + 0x1000n, host + 0x3000n, host + 0x2000n])
    expect(new Uint32Array(peer.last('VHOST_USER_SET_VRING_NUM').payload.buffer)).toEqual(Uint32Array.of(1, 64))
    expect(new Uint32Array(peer.last('VHOST_USER_SET_VRING_BASE').payload.buffer)).toEqual(Uint32Array.of(1, 7))
    expect(new Uint32Array(peer.last('VHOST_USER_SET_VRING_ENABLE').payload.buffer)).toEqual(Uint32Array.of(1, 1))
  })

  it('does not enable rings of a program without protocol features', () => {
    const plain = opened.adopt(open({ ...OFFER, features: VERSION_1 }), used => used.close())
    const peer = connect()
    plain.startRing(RING)
    expect(peer.serveAll()).toEqual([...SET_UP.slice(1), ...RING_SET_UP.slice(0, -1)])
  })

  it('kicks at the start, and when it is told to', () => {
    const peer = connect()
    peer.serveAll()
    backend.startRing(RING)
    peer.serveAll()
    const kick = new EventFd(peer.last('VHOST_USER_SET_VRING_KICK').fds[0]!)
    expect(kick.take()).toBe(1)
    backend.kick(1)
    backend.kick(0)
    expect(kick.take()).toBe(1)
  })

  it('passes calls on as interrupts until the ring is stopped', () => {
    const peer = connect()
    backend.start(VERSION_1, listener)
    backend.startRing(RING)
    peer.serveAll()
    loop.wait(0)
    const call = new EventFd(peer.last('VHOST_USER_SET_VRING_CALL').fds[0]!)
    call.signal()
    loop.wait(0)
    loop.wait(0)
    call.signal()
    loop.wait(0)
    expect(events).toEqual(['interrupt 1', 'interrupt 1'])
    backend.stopRing(1, note('stopped'))
    peer.serveAll()
    loop.wait(0)
    call.signal()
    loop.wait(0)
    expect(events.slice(2)).toEqual(['stopped'])
  })

  it('passes on that the program has trouble with a ring', () => {
    const peer = connect()
    backend.startRing(RING)
    peer.serveAll()
    new EventFd(peer.last('VHOST_USER_SET_VRING_ERR').fds[0]!).signal()
    loop.wait(0)
    expect(warnings).toEqual(['it reports an error in ring 1'])
  })

  it('has stopped a ring when the program says so, and not before', () => {
    const peer = connect()
    backend.startRing(RING)
    backend.stopRing(1, note('stopped'))
    backend.stopRing(1, note('stopped again'))
    loop.wait(0)
    expect(events).toEqual([])
    expect(peer.serveAll().filter(name => name === 'VHOST_USER_GET_VRING_BASE')).toHaveLength(1)
    loop.wait(0)
    expect(events).toEqual(['stopped', 'stopped again'])
  })

  it('has nothing to do for a ring that was not started', () => {
    backend.stopRing(0, note('stopped'))
    expect(events).toEqual(['stopped'])
  })

  it('reports a program that died when it is gone, and serves the rings by the next one', () => {
    const first = connect()
    backend.start(VERSION_1, listener)
    backend.startRing(RING)
    first.serveAll()
    first.die()
    loop.wait(0)
    expect([source.ends, events]).toEqual([1, []])
    source.events!.ended('it ended with status 1')
    expect(events).toEqual(['lost: it closed the connection; it ended with status 1'])
    backend.startRing({ ...RING, base: 9 })
    const second = connect()
    expect(second.serveAll()).toEqual([...SET_UP, 'VHOST_USER_SET_FEATURES', ...RING_SET_UP])
    expect(second.last('VHOST_USER_SET_VRING_BASE').payload.getUint32(4, true)).toBe(9)
    expect(warnings).toEqual([expect.stringContaining('is gone'), 'the program runs again'])
  })

  it('reports a process that ended before its socket told', () => {
    connect()
    backend.start(VERSION_1, listener)
    source.events!.ended('it ended with signal SIGKILL')
    expect(events).toEqual(['lost: it ended with signal SIGKILL'])
  })

  it('ends a program that does not stop a ring in time, and waits for its end', () => {
    const peer = connect()
    backend.start(VERSION_1, listener)
    backend.startRing(RING)
    peer.serveAll()
    loop.wait(0)
    backend.stopRing(1, note('stopped'))
    alarm.fire()
    expect([source.ends, events]).toEqual([1, []])
    source.events!.ended('')
    expect(events).toEqual(['stopped', 'lost: it did not answer VHOST_USER_GET_VRING_BASE within 10 s'])
  })

  it('stops a ring at once while no program is there', () => {
    backend.startRing(RING)
    backend.stopRing(1, note('stopped'))
    expect(events).toEqual(['stopped'])
  })

  it('waits for the end of a program that failed before it stops a ring', () => {
    const peer = connect()
    backend.startRing(RING)
    peer.die()
    loop.wait(0)
    backend.stopRing(1, note('stopped'))
    expect(events).toEqual([])
    source.events!.ended('')
    expect(events).toEqual(['stopped'])
  })

  it('is told of no program after the driver is gone', () => {
    connect()
    backend.start(VERSION_1, listener)
    backend.stop()
    source.events!.ended('it ended')
    expect(events).toEqual([])
  })
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { VsockSockets } from '../../../src/backend/vsock-sockets.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { acceptSocket, listenUnix } from '../../../src/host/socket.ts'
import { VirtioVsock } from '../../../src/virtio/vsock.ts'
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
import { deviceHarness } from '../../support/device-harness.ts'
import { HostProgram } from '../../support/host-program.ts'
import { repeat } from '../../support/repeat.ts'
import { GUEST_CID, type Heard, HOST_PORT, packetBytes, VsockGuest } from '../../support/vsock-guest.ts'

const TX = 1
const RX = 0
const RCV = 1
const SEND = 2
/** Long enough for a busy machine; a test that passes never waits for it. */
const LIMIT_MS = 5000

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (data: Uint8Array) => new TextDecoder().decode(data)
const counting = (length: number) => new Uint8Array(length).map((_, i) => i * 7 + (i >> 8))
const sum = (data: Uint8Array) => Bun.hash(data)

const stack: DisposableStack[] = []
afterEach(() => stack.pop()?.dispose())

/** A device with real memory, in front of sockets in a folder of its own; disposed of after the test. */
function setUp() {
  const opened = new DisposableStack()
  stack.push(opened)
  const folder = mkdtempSync(join(tmpdir(), 'vsock-'))
  opened.defer(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'v')
  const loop = opened.use(new EventLoop())
  const listener = opened.adopt(listenUnix(path), closeFd)
  const warnings: string[] = []
  const backend = new VsockSockets(listener, path, loop, line => warnings.push(line))
  const device = new VirtioVsock({ name: 'vsock', cid: GUEST_CID, backend, defer: task => loop.defer(task) })
  const harness = opened.use(deviceHarness(device, { real: true }))
  const guest = new VsockGuest(harness)
  const server = opened.adopt(listenUnix(`${path}_${HOST_PORT}`), closeFd)
  const heard: Heard[] = []
  /** Lets the device work until the guest has heard `op`; what it heard up to then. */
  const hear = (op: number): readonly Heard[] => {
    const deadline = performance.now() + LIMIT_MS
    for (;;) {
      heard.push(...guest.hear())
      if (heard.some(packet => packet.op === op)) return heard.splice(0)
      if (performance.now() > deadline) throw new Error(`no packet ${op}`)
      loop.wait(100)
    }
  }
  const program = (fd: number) => opened.use(new HostProgram(fd))
  return {
    opened,
    path,
    loop,
    device,
    harness,
    guest,
    server,
    warnings,
    hear,
    program,
    /** Rounds of the loop until there is nothing to do. */
    settle: () => {
      while (loop.wait(0) > 0 || loop.hasDeferred);
    },
    connect: () => opened.use(HostProgram.connect(path)),
  }
}

/** With a connection of the guest to a program of the host. */
function connected({ buffers = 64, bufAlloc = 2 ** 18 } = {}) {
  const setup = setUp()
  setup.guest.offer(1)
  setup.guest.send({ op: REQUEST, bufAlloc })
  setup.hear(RESPONSE)
  setup.guest.offer(buffers)
  return { ...setup, host: setup.program(acceptSocket(setup.server)) }
}

const joined = (pieces: readonly Heard[]) => Uint8Array.from(pieces.flatMap(({ data }) => [...data]))

describe('VsockSockets for the guest', () => {
  it('carry bytes both ways', () => {
    const { guest, host, hear } = connected()
    guest.write(bytes('ping'))
    expect(text(host.read())).toBe('ping')
    host.write(bytes('pong'))
    expect(text(joined(hear(RW)))).toBe('pong')
  })

  it('refuse a port where nobody listens', () => {
    const { guest, hear } = setUp()
    guest.offer(1)
    guest.send({ op: REQUEST, dstPort: 1 })
    expect(hear(RST)).toHaveLength(1)
  })

  it('pass the end of either side on, and the other goes on', () => {
    const { guest, host, hear } = connected()
    host.write(bytes('all'))
    host.endWriting()
    const heard = hear(SHUTDOWN)
    expect(text(joined(heard))).toBe('all')
    expect(heard.at(-1)!.flags).toBe(SEND)
    guest.write(bytes('more'))
    expect(text(host.read())).toBe('more')
    expect(host.isAtEnd).toBe(false)
    guest.send({ op: SHUTDOWN, flags: SEND })
    expect(host.isAtEnd).toBe(true)
    guest.send({ op: SHUTDOWN, flags: RCV })
    expect(hear(RST)).toHaveLength(1)
  })

  it('tell the guest that the program has gone, after the last of its bytes', () => {
    const { host, hear, guest, loop } = connected()
    host.write(counting(10_000))
    host[Symbol.dispose]()
    const heard = [...hear(SHUTDOWN)]
    guest.offer(1)
    repeat(3, () => loop.wait(0))
    heard.push(...guest.hear())
    expect(joined(heard)).toEqual(counting(10_000))
    expect(heard.at(-1)).toMatchObject({ op: SHUTDOWN, flags: RCV | SEND })
  })

  it('end a program when the guest resets', () => {
    const { guest, host } = connected()
    guest.send({ op: RST })
    expect(host.isAtEnd).toBe(true)
  })

  it('keep what the program does not read, within the window, and lose nothing of it', () => {
    const { guest, host, hear, settle, device } = connected()
    const all = counting(2 ** 20)
    let sent = 0
    let forwarded = 0
    // As much as the credit allows, which grows only as far as the socket takes bytes.
    repeat(16, () => {
      const piece = all.subarray(sent, sent + Math.min(2 ** 16, WINDOW_BYTES - (sent - forwarded)))
      guest.write(piece)
      sent += piece.length
      guest.send({ op: CREDIT_REQUEST })
      forwarded = hear(CREDIT_UPDATE).at(-1)!.fwdCnt
    })
    expect(sent).toBeLessThan(all.length)
    expect(sent - forwarded).toBe(WINDOW_BYTES)
    expect(device.statistics.receivedBytes).toBe(sent)
    const got: number[] = []
    repeat(40, () => {
      got.push(...host.read())
      settle()
    })
    expect(sum(Uint8Array.from(got))).toBe(sum(all.subarray(0, sent)))
    expect(hear(CREDIT_UPDATE).at(-1)!.fwdCnt).toBe(sent)
  })

  it.each([
    ['ends', { op: SHUTDOWN, flags: RCV | SEND }, { op: SHUTDOWN, flags: 0 }],
    ['ends what it sends and resets', { op: SHUTDOWN, flags: SEND }, { op: RST }],
  ])('give the program everything after the guest %s, and then the end', (_, first, second) => {
    const { guest, host, settle } = connected()
    const all = counting(2 ** 19)
    // More than a socket takes: the rest is here.
    repeat(8, i => guest.write(all.subarray(i * 2 ** 16, (i + 1) * 2 ** 16).subarray(0, 40_000)))
    guest.send(first)
    guest.send(second)
    const got: number[] = []
    repeat(20, () => {
      got.push(...host.read())
      settle()
    })
    expect(got).toHaveLength(8 * 40_000)
    expect(host.isAtEnd).toBe(true)
  })

  it('tell the guest when a program that has not read goes', () => {
    const { guest, host, hear, settle } = connected()
    repeat(5, () => guest.write(counting(65_000)))
    host[Symbol.dispose]()
    settle()
    expect(hear(SHUTDOWN).at(-1)!.flags & RCV).toBe(RCV)
    guest.send({ op: CREDIT_REQUEST })
    expect(hear(CREDIT_UPDATE).at(-1)!.fwdCnt).toBe(5 * 65_000)
    guest.write(counting(10))
    guest.send({ op: CREDIT_REQUEST })
    expect(hear(CREDIT_UPDATE).at(-1)!.fwdCnt).toBe(5 * 65_000 + 10)
  })

  it('carry buffers in more pieces than one call takes', () => {
    const { harness, guest, host, loop } = connected({ buffers: 0 })
    const data = counting(600)
    harness.send(TX, {
      out: [
        packetBytes({ op: RW, len: 600, bufAlloc: 2 ** 18 }),
        ...Array.from({ length: 100 }, (_, i) => data.subarray(i * 6, i * 6 + 6)),
      ],
    })
    expect(host.read()).toEqual(data)
    harness.send(RX, { in: new Array(100).fill(8) })
    host.write(data)
    const used = harness.receive(RX, () => loop.wait(100))
    expect(used.written).toBe(644)
    expect(Uint8Array.from(used.in.flatMap(piece => [...piece])).subarray(44, 644)).toEqual(data)
    expect(guest.hear()).toEqual([])
  })

  it('carry a megabyte from a program to a guest that gives credit slowly', () => {
    const { guest, host, settle } = connected({ buffers: 8, bufAlloc: 10_000 })
    const all = counting(2 ** 20)
    let written = 0
    const got: number[] = []
    repeat(400, () => {
      written += host.write(all.subarray(written))
      settle()
      const pieces = guest.hear()
      got.push(...joined(pieces))
      guest.send({ op: CREDIT_UPDATE, bufAlloc: 10_000, fwdCnt: got.length })
      guest.offer(pieces.length)
    })
    expect(sum(Uint8Array.from(got))).toBe(sum(all))
  })
})

describe('VsockSockets for programs', () => {
  it.each([
    ['in one piece', ['CONNECT 53\n']],
    ['byte by byte', [...'CONNECT 53\n']],
    ['with the first data behind it', ['CONNECT 53\nhel', 'lo']],
  ])('connect to the port of a line that comes %s', (_, pieces) => {
    const { guest, hear, loop, settle, connect } = setUp()
    guest.offer(16)
    const host = connect()
    repeat(pieces.length, i => {
      host.write(bytes(pieces[i]!))
      settle()
    })
    const [request] = hear(REQUEST)
    expect(request).toMatchObject({ dstPort: 53 })
    expect(text(host.read())).toBe('')
    guest.send({ op: RESPONSE, srcPort: 53, dstPort: request!.srcPort })
    expect(text(host.read())).toBe(`OK ${request!.srcPort}\n`)
    host.write(bytes('!'))
    loop.wait(100)
    expect(text(joined(hear(RW)))).toBe(`${pieces.join('').replace('CONNECT 53\n', '')}!`)
    guest.write(bytes('yes'), { srcPort: 53, dstPort: request!.srcPort })
    expect(text(host.read())).toBe('yes')
  })

  it.each([
    'CONNECT\n',
    'CONNECT \n',
    'CONNECT x\n',
    'CONNECT -1\n',
    'CONNECT 53 54\n',
    'CONNECT 4294967295\n',
    'CONNECT 99999999999\n',
    'connect 53\n',
    'GET / HTTP/1.1\n',
    '\n',
    'CONNECT 0000000000000053\n',
    'X'.repeat(1000),
  ])('hang up on %j', line => {
    const { guest, settle, connect } = setUp()
    guest.offer(1)
    const host = connect()
    host.write(bytes(line))
    settle()
    expect(host.isAtEnd).toBe(true)
    expect(guest.hear()).toEqual([])
  })

  it('hang up when the guest refuses', () => {
    const { guest, hear, settle, connect } = setUp()
    guest.offer(1)
    const host = connect()
    host.write(bytes('CONNECT 53\n'))
    settle()
    guest.send({ op: RST, srcPort: 53, dstPort: hear(REQUEST)[0]!.srcPort })
    expect(host.isAtEnd).toBe(true)
  })

  it('hang up while no driver is there', () => {
    const { harness, settle, connect } = setUp()
    harness.reset()
    const host = connect()
    host.write(bytes('CONNECT 53\n'))
    settle()
    expect(host.isAtEnd).toBe(true)
  })

  it('take a request back whose program goes before the guest answers', () => {
    const { guest, hear, settle, connect } = setUp()
    guest.offer(4)
    const host = connect()
    host.write(bytes('CONNECT 53\n'))
    settle()
    host[Symbol.dispose]()
    expect(hear(RST).map(({ op }) => op)).toEqual([REQUEST, RST])
  })

  it('serve no more than 64 programs that do not say where to', () => {
    const { settle, connect } = setUp()
    const silent = Array.from({ length: 70 }, () => {
      const host = connect()
      settle()
      return host
    })
    expect(silent.filter(host => host.isAtEnd)).toHaveLength(6)
    silent.map(host => host[Symbol.dispose]())
    settle()
    const host = connect()
    settle()
    expect(host.isAtEnd).toBe(false)
  })
})

describe('VsockSockets.close', () => {
  it('ends everybody', () => {
    const { device, host, settle, connect } = connected()
    const waiting = connect()
    settle()
    device.close()
    expect([host, waiting].map(({ isAtEnd }) => isAtEnd)).toEqual([true, true])
  })
})

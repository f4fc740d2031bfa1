/** Devices as tests of the IOMMU need them: each with one request, most of which is in a buffer wherever the test says. */

import { VirtioBlk } from '../../src/virtio/blk.ts'
import { VirtioConsole } from '../../src/virtio/console.ts'
import type { VirtioDevice } from '../../src/virtio/device.ts'
import { VirtioNet } from '../../src/virtio/net.ts'
import { Rng } from '../../src/virtio/rng.ts'
import { VirtioVsock } from '../../src/virtio/vsock.ts'
import { VIRTIO_VSOCK_OP_REQUEST } from '../../src/virtio/vsock-packet.ts'
import { FakeNetBackend } from '../unit/virtio/fake-net-backend.ts'
import { frame, GUEST_MAC, header, packet } from '../unit/virtio/net-frames.ts'
import { blkHeader } from './disk.ts'
import type { DriverBuffer } from './driver-ring.ts'
import { FakeConsolePort } from './fake-console-port.ts'
import { FakeVsockBackend } from './fake-vsock.ts'
import { MemoryDisk } from './memory-disk.ts'
import type { VirtioMemory } from './virtio-memory.ts'
import { GUEST_CID, HOST_PORT, packetBytes } from './vsock-guest.ts'

/** A device, and the request that the tests make of it. */
export interface ConfinedSubject {
  readonly device: VirtioDevice
  readonly queue: number
  /** The buffer's size, in which direction it goes, and what is in it: before (read by the device), or in the end. */
  readonly content: Uint8Array
  readonly write: boolean
  /** The chain with the buffer at `address`. */
  chain(memory: VirtioMemory, address: number): readonly DriverBuffer[]
  /** What else it takes, after the notification. */
  act(): void
  /** What the host got of a buffer that the device reads. */
  taken(): Uint8Array | undefined
}

const CONTENT = Uint8Array.from({ length: 1536 }, (_, i) => (i * 5 + 1) & 0xff)

/** The request is the buffer. */
function alone(write: boolean, length: number): ConfinedSubject['chain'] {
  return (_memory, address) => [{ address, length, write }]
}

/** A block request whose header and status are in memory of their own. */
function blkChain(type: number, write: boolean): ConfinedSubject['chain'] {
  return (memory, address) => {
    const start = memory.allocate(17)
    memory.memory.bytesAt(start, 16).set(blkHeader(type, 2))
    return [
      { address: start, length: 16, write: false },
      { address, length: CONTENT.length, write },
      { address: start + 16, length: 1, write: true },
    ]
  }
}

function blk(type: number): ConfinedSubject {
  const backend = new MemoryDisk()
  const isRead = type === 0
  if (isRead) backend.bytes.set(CONTENT, 1024)
  return {
    device: new VirtioBlk({ name: 'disk0', backend, serial: 'serial', queues: 1 }),
    queue: 0,
    content: CONTENT,
    write: isRead,
    chain: blkChain(type, isRead),
    act() {},
    taken: () => backend.bytes.slice(1024, 1024 + CONTENT.length),
  }
}

function rng(): ConfinedSubject {
  const source = { fill: (buffer: { write(at: number, bytes: Uint8Array): number }) => buffer.write(0, CONTENT) }
  return {
    device: new Rng({ name: 'rng', source, defer() {} }),
    queue: 0,
    content: CONTENT,
    write: true,
    chain: alone(true, CONTENT.length),
    act() {},
    taken: () => undefined,
  }
}

function console(write: boolean): ConfinedSubject {
  const port = new FakeConsolePort('', true)
  const device = new VirtioConsole({ name: 'console', ports: [port], defer() {} })
  return {
    device,
    queue: write ? 0 : 1,
    content: CONTENT,
    write,
    chain: alone(write, CONTENT.length),
    act() {
      if (!write) return
      port.type(CONTENT)
      device.inputAvailable(0)
    },
    taken: () => port.takeOutput(),
  }
}

const MERGEABLE = header({ numBuffers: 1 })

function net(write: boolean): ConfinedSubject {
  const backend = new FakeNetBackend()
  const body = frame(1500)
  const content = packet(body, write ? MERGEABLE : header())
  return {
    device: new VirtioNet({ name: 'net0', mac: GUEST_MAC, backend }),
    queue: write ? 0 : 1,
    content,
    write,
    chain: alone(write, content.length),
    act() {
      if (write) backend.arrive(packet(body))
    },
    taken: () => backend.port.sent[0],
  }
}

/** The guest asks for a connection, in a buffer that is longer than it need be. */
function vsock(): ConfinedSubject {
  const backend = new FakeVsockBackend()
  backend.listening.add(HOST_PORT)
  const device = new VirtioVsock({ name: 'vsock', cid: GUEST_CID, backend, defer() {} })
  const content = new Uint8Array(CONTENT.length)
  content.set(packetBytes({ op: VIRTIO_VSOCK_OP_REQUEST }))
  return {
    device,
    queue: 1,
    content,
    write: false,
    chain: alone(false, content.length),
    act() {},
    taken: () => (backend.streams.length === 1 ? content : undefined),
  }
}

/** Each makes a new one. */
export const CONFINED_SUBJECTS: readonly (readonly [name: string, create: () => ConfinedSubject])[] = [
  ['blk, reading', () => blk(0)],
  ['blk, writing', () => blk(1)],
  ['rng', rng],
  ['console, input', () => console(true)],
  ['console, output', () => console(false)],
  ['net, receiving', () => net(true)],
  ['net, sending', () => net(false)],
  ['vsock, sending', vsock],
]

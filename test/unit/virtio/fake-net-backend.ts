/** A network backend in plain memory: what a device sends and receives, under the test's control. */

import type { Extents } from '../../../src/memory/extents.ts'
import { GuestMemory } from '../../../src/memory/guest-memory.ts'
import { HEADER_SIZE } from '../../../src/virtio/net-header.ts'
import { type NetBackend, type NetEvents, type NetPort, TOO_LARGE, WOULD_BLOCK } from '../../../src/virtio/net-port.ts'

/** One port: packets wait in `incoming` (header and frame), sent ones are in `sent`. */
export class FakePort implements NetPort {
  readonly header = new DataView(new ArrayBuffer(HEADER_SIZE))
  readonly incoming: Uint8Array[] = []
  readonly sent: Uint8Array[] = []
  /** Packets that `send` still takes. */
  capacity = Number.POSITIVE_INFINITY
  private memory: GuestMemory = new GuestMemory([])
  private readonly room: { start: number; size: number }[] = []

  addRoom(buffer: Extents): boolean {
    this.memory = buffer.memory
    for (let i = 0; i < buffer.count; i++) this.room.push({ start: buffer.start(i), size: buffer.length(i) })
    return true
  }

  takeRoom(pieces: number): void {
    this.room.splice(0, pieces)
  }

  clearRoom(): void {
    this.room.length = 0
  }

  get roomBytes(): number {
    return this.room.reduce((sum, { size }) => sum + size, 0)
  }

  receive(): number {
    const [packet] = this.incoming
    if (packet === undefined) return WOULD_BLOCK
    if (packet.length > this.roomBytes) return TOO_LARGE
    let at = 0
    for (const { start, size } of this.room) {
      this.memory.write(start, packet.subarray(at, at + size))
      at += size
    }
    this.incoming.shift()
    return packet.length
  }

  discard(): void {
    this.incoming.shift()
  }

  send(packet: Extents): number {
    if (this.capacity === 0) return WOULD_BLOCK
    this.capacity--
    const bytes = new Uint8Array(packet.size)
    packet.read(0, bytes)
    bytes.set(new Uint8Array(this.header.buffer))
    this.sent.push(bytes)
    return 0
  }
}

/** What the backend of a test may do. */
export interface FakeNetOptions {
  readonly pairs?: number
  readonly offloads?: bigint
}

export class FakeNetBackend implements NetBackend {
  readonly ports: readonly FakePort[]
  readonly passesHeader: boolean
  readonly offloads: bigint
  linkUp = true
  isClosed = false
  activePairs = 0
  guestOffloads = 0n
  readonly deferred: (() => void)[] = []
  events!: NetEvents

  constructor({ pairs = 1, offloads = 0n }: FakeNetOptions = {}) {
    this.ports = Array.from({ length: pairs }, () => new FakePort())
    this.offloads = offloads
    this.passesHeader = offloads !== 0n
  }

  get port(): FakePort {
    return this.ports[0] as FakePort
  }

  start(events: NetEvents): void {
    this.events = events
  }

  /** Packets come in, all at once. */
  arrive(...packets: Uint8Array[]): void {
    this.port.incoming.push(...packets)
    this.events.readable(0)
  }

  setGuestOffloads(features: bigint): boolean {
    this.guestOffloads = features
    return true
  }

  setActivePairs(count: number): boolean {
    this.activePairs = count
    return true
  }

  defer(task: () => void): void {
    this.deferred.push(task)
  }

  runDeferred(): void {
    for (const task of this.deferred.splice(0)) task()
  }

  close(): void {
    this.isClosed = true
  }
}

/**
 * What a vCPU thread may decide alone about an access: shared memory that the device thread writes and every vCPU
 * thread reads. Unmapped addresses are answered at once, posted writes need no answer, and mirrored registers are
 * read from here; everything else goes to the device thread.
 */
import { assert } from '../base/errors.ts'
import { type BusRange, isPosted } from '../bus/bus.ts'
import type { RegisterMirror } from '../bus/mirror.ts'

/** How a port is handled. */
export const PortRoute = {
  /** Nothing there: reads are all ones, writes are ignored. */
  unmapped: 0,
  /** Reads and writes wait for the device thread. */
  sync: 1,
  /** Writes of a byte are posted, all else waits. */
  posted: 2,
  /** Writes of four bytes are posted, all else waits. */
  postedDword: 3,
  /** Added to the others: byte reads come from the mirror. */
  mirrored: 0x80,
} as const

const PORTS = 0x1_0000
const MAX_MMIO_RANGES = 256
const COUNT = 0
const VERSION = 1
const MIRROR_AT = PORTS
const WORDS_AT = MIRROR_AT + PORTS
const RANGES_AT = WORDS_AT + 16
const TOTAL_BYTES = RANGES_AT + MAX_MMIO_RANGES * 16

/** Both sides' view of the table. */
export class RouteTable {
  private readonly routes: Uint8Array
  private readonly mirrors: Uint8Array
  private readonly words: Int32Array
  private readonly ranges: Float64Array

  constructor(readonly shared: SharedArrayBuffer) {
    this.routes = new Uint8Array(shared, 0, PORTS)
    this.mirrors = new Uint8Array(shared, MIRROR_AT, PORTS)
    this.words = new Int32Array(shared, WORDS_AT, 2)
    this.ranges = new Float64Array(shared, RANGES_AT, MAX_MMIO_RANGES * 2)
  }

  static create(): RouteTable {
    return new RouteTable(new SharedArrayBuffer(TOTAL_BYTES))
  }

  /** Device thread: replaces the routes of all ports; mirrors are kept. */
  setPorts(ranges: readonly BusRange[]): void {
    const routes = new Uint8Array(PORTS)
    for (const range of ranges) {
      if (range.silent === true) continue
      for (let offset = 0; offset < range.size; offset++)
        routes[range.start + offset] = isPosted(range, offset, 1) ? postedRoute(range) : PortRoute.sync
    }
    for (let port = 0; port < PORTS; port++) {
      const mirrored = (this.routes[port] as number) & PortRoute.mirrored
      Atomics.store(this.routes, port, (routes[port] as number) | mirrored)
    }
  }

  /** Device thread: the mirror of a device whose ports start at `start`. */
  mirrorAt(start: number): RegisterMirror {
    return {
      publish: (offset, value) => {
        Atomics.store(this.mirrors, start + offset, value)
        Atomics.or(this.routes, start + offset, PortRoute.mirrored)
      },
      withdraw: offset => {
        Atomics.and(this.routes, start + offset, ~PortRoute.mirrored & 0xff)
      },
    }
  }

  /** Device thread: replaces the MMIO ranges, in ascending order. */
  setMmio(ranges: readonly BusRange[]): void {
    assert(ranges.length <= MAX_MMIO_RANGES, `at most ${MAX_MMIO_RANGES} MMIO ranges`)
    // A sequence lock: readers retry while the version is odd or has changed.
    Atomics.add(this.words, VERSION, 1)
    for (const [index, { start, size }] of ranges.entries()) {
      this.ranges[2 * index] = start
      this.ranges[2 * index + 1] = start + size
    }
    Atomics.store(this.words, COUNT, ranges.length)
    Atomics.add(this.words, VERSION, 1)
  }

  /** vCPU thread: the PortRoute of `port`. */
  port(port: number): number {
    return this.routes[port] as number
  }

  /** vCPU thread: the mirrored byte of `port`. */
  mirror(port: number): number {
    return Atomics.load(this.mirrors, port)
  }

  /** vCPU thread: whether a device answers at `address`. */
  hasMmio(address: number): boolean {
    for (;;) {
      const version = Atomics.load(this.words, VERSION)
      const count = Atomics.load(this.words, COUNT)
      let found = false
      for (let i = 0; i < count; i++)
        if (address >= (this.ranges[2 * i] as number) && address < (this.ranges[2 * i + 1] as number)) found = true
      if ((version & 1) === 0 && Atomics.load(this.words, VERSION) === version) return found
    }
  }
}

function postedRoute(range: BusRange): number {
  return range.postedSize === 4 ? PortRoute.postedDword : PortRoute.posted
}

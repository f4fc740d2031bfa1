/**
 * Guest memory for device tests: three windows, of which two touch, so that a buffer may cross from one to the other.
 *
 *   [0, W)  [W, 2W)    hole    [4 GiB, 4 GiB + W)
 *
 * Plain ArrayBuffers, or real memory for devices whose back ends do I/O by host address.
 */
import { GuestMemory } from '../../src/memory/guest-memory.ts'
import { Ram, viewRam } from '../../src/memory/ram.ts'
import { Arena } from './arena.ts'

export const HIGH_START = 2 ** 32
const DEFAULT_WINDOW_BYTES = 4 * 2 ** 20
/** Room at the touching windows for buffers that cross. */
const CROSSING_BYTES = 2 ** 20

/** Where to put a buffer. */
export type Place = 'low' | 'crossing' | 'high'

export interface VirtioMemoryOptions {
  /** Bytes of a window; a multiple of 4 KiB, at least 4 MiB. */
  readonly windowBytes?: number
  /** A memfd with host addresses; dispose of the memory at the end. */
  readonly real?: boolean
}

/** Memory with an allocator. */
export class VirtioMemory {
  readonly memory: GuestMemory
  readonly windowBytes: number
  /** With `real`: what backs it. */
  readonly ram: Ram | undefined
  private readonly arenas: Readonly<Record<Place, Arena>>
  private crossing = 0

  constructor({ windowBytes = DEFAULT_WINDOW_BYTES, real = false }: VirtioMemoryOptions = {}) {
    this.windowBytes = windowBytes
    const starts = [0, windowBytes, HIGH_START]
    this.ram = real ? Ram.create(starts.map(start => ({ start, size: windowBytes }))) : undefined
    this.memory =
      this.ram === undefined
        ? new GuestMemory(starts.map(start => ({ start, bytes: new Uint8Array(windowBytes) })))
        : viewRam(this.ram.blocks)
    this.arenas = {
      // Not from 0 on: a test that forgot an address should not find a buffer there.
      low: new Arena(0x1000, windowBytes - CROSSING_BYTES / 2),
      crossing: new Arena(windowBytes - CROSSING_BYTES / 2, windowBytes + CROSSING_BYTES / 2),
      high: new Arena(HIGH_START, HIGH_START + windowBytes),
    }
  }

  /** An address with `size` bytes behind it; `crossing`: half of them in the next window, one such at a time. */
  allocate(size: number, place: Place = 'low', alignment = 16): number {
    if (place !== 'crossing') return this.arenas[place].allocate(size, alignment)
    if (this.crossing > 0) throw new Error('there is one crossing buffer already')
    this.crossing = size
    return this.windowBytes - Math.ceil(size / 2)
  }

  /** Takes back what `allocate` gave. */
  free(address: number): void {
    if (address >= HIGH_START) this.arenas.high.free(address)
    else if (address >= this.windowBytes - CROSSING_BYTES / 2) this.crossing = 0
    else this.arenas.low.free(address)
  }

  [Symbol.dispose](): void {
    this.ram?.[Symbol.dispose]()
  }
}

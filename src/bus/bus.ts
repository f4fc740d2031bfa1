/**
 * Address decoding: one Bus for ports, one for MMIO. Maps an address range to the handler of a device.
 *
 * Nothing a guest does here throws: an access that no range takes reads as ones and writes nowhere; one that is wider
 * than its handler, odd-sized, or crosses the end of a range is carried out in pieces, lowest address first.
 * Values are little-endian. `number` is exact up to 4 bytes; `readInto` and `writeFrom` are exact for any size.
 */
import { assert } from '../base/errors.ts'
import type { RegisterMirror } from './mirror.ts'

/** The device's side. `offset` is relative to the start of the range; size is 1, 2, 4 or 8, never above `accessSize`. */
export interface BusHandler {
  /** Widest access the handler takes whole; 4 if absent. With 1, the device only ever sees bytes. */
  readonly accessSize?: 1 | 2 | 4 | 8
  read(offset: number, size: number): number
  write(offset: number, size: number, value: number): void
}

/** A range and the hints with which a vCPU thread spares itself the way to the device thread. */
export interface BusRange {
  readonly name: string
  readonly start: number
  readonly size: number
  /**
   * Offsets whose writes need no completion before the vCPU goes on. Later accesses that reach the device stay in
   * order behind them; a mirrored read may overtake them, so a device lists an offset only where that is harmless.
   */
  readonly posted?: 'all' | readonly number[]
  /** Width in bytes of the writes that may be posted; 1 if absent. */
  readonly postedSize?: 1 | 4
  /** Nothing listens: reads give ones and writes vanish, so a vCPU thread answers alone. */
  readonly silent?: boolean
  /** The registers a vCPU thread may answer itself. */
  readonly mirror?: RegisterMirror
}

/** Takes one line about something odd but harmless. */
export type DebugLog = (message: string) => void

interface Entry {
  readonly range: BusRange
  readonly handler: BusHandler
  readonly start: number
  /** First address behind the range. */
  readonly end: number
  readonly accessSize: number
}

/** Unmapped addresses that are logged before the bus falls silent: a scanning guest must not fill the log. */
const LOG_LIMIT = 64

/**
 * An address space of devices.
 *
 * @example const ports = new Bus('port'); ports.add({ name: 'rtc', start: 0x70, size: 2 }, rtc)
 */
export class Bus {
  private entries: Entry[] = []
  /** `entries[i].start`, in ascending order, for the search. */
  private starts = new Float64Array(0)
  /** Guests poll one device at a time, so the last hit is usually the next one. */
  private last: Entry | undefined
  private readonly logged = new Set<number>()

  constructor(
    private readonly name: string,
    private readonly debug: DebugLog = () => {},
    /** Told after each change of the ranges. */
    private readonly onChange: () => void = () => {},
  ) {}

  /** Maps `range` to `handler`; ranges must not overlap. */
  add(range: BusRange, handler: BusHandler): void {
    assert(Number.isSafeInteger(range.start) && range.start >= 0, `${this.name} ${range.name}: start is an address`)
    assert(Number.isSafeInteger(range.size) && range.size > 0, `${this.name} ${range.name}: size is positive`)
    assert(this.isFree(range.start, range.size), `${this.name} ${range.name}: overlaps another range`)
    const entry = {
      range,
      handler,
      start: range.start,
      end: range.start + range.size,
      accessSize: handler.accessSize ?? 4,
    }
    this.replace([...this.entries, entry])
  }

  /** Unmaps the range that starts at `start`. */
  remove(start: number): void {
    const entry = this.exact(start)
    this.replace(this.entries.filter(other => other !== entry))
  }

  /**
   * Moves a range. A guest chooses the address of a PCI BAR, so a collision is no error: the range stays where it was
   * and the answer is false.
   */
  move(oldStart: number, newStart: number): boolean {
    const entry = this.exact(oldStart)
    if (!this.isFree(newStart, entry.range.size, entry)) return false
    const moved = {
      ...entry,
      range: { ...entry.range, start: newStart },
      start: newStart,
      end: newStart + entry.range.size,
    }
    this.replace(this.entries.map(other => (other === entry ? moved : other)))
    return true
  }

  /** Whether no range has a byte in common with [start, start + size). */
  isFree(start: number, size: number, except?: unknown): boolean {
    return this.entries.every(entry => entry === except || start + size <= entry.start || start >= entry.end)
  }

  /** All ranges by ascending address. */
  ranges(): readonly BusRange[] {
    return this.entries.map(entry => entry.range)
  }

  /** Reads 1 to 8 bytes. Above 4 bytes the number rounds from 2^53 on; see `readInto`. */
  read(address: number, size: number): number {
    const entry = this.find(address)
    if (entry !== undefined && takesWhole(entry, address, size))
      return truncate(entry.handler.read(address - entry.start, size), size)
    const view = new DataView(new ArrayBuffer(8))
    this.readInto(address, size, view, 0)
    return getNumber(view, 0, size)
  }

  /** Writes the low `size` (1 to 8) bytes of `value`. */
  write(address: number, size: number, value: number): void {
    const entry = this.find(address)
    if (entry !== undefined && takesWhole(entry, address, size)) {
      entry.handler.write(address - entry.start, size, truncate(value, size))
      return
    }
    const view = new DataView(new ArrayBuffer(8))
    setNumber(view, 0, size, value)
    this.writeFrom(address, size, view, 0)
  }

  /** Reads `size` bytes, exactly, to `at` in `view`. */
  readInto(address: number, size: number, view: DataView, at: number): void {
    for (let done = 0; done < size; ) {
      const entry = this.find(address + done)
      const piece = pieceSize(entry, address + done, size - done)
      if (entry === undefined) this.unmapped('read', address + done)
      const value = entry === undefined ? 0xff : entry.handler.read(address + done - entry.start, piece)
      setNumber(view, at + done, piece, value)
      done += piece
    }
  }

  /** Writes the `size` bytes at `at` in `view`, exactly. */
  writeFrom(address: number, size: number, view: DataView, at: number): void {
    for (let done = 0; done < size; ) {
      // Looked up for each piece: the write before may have moved a range.
      const entry = this.find(address + done)
      const piece = pieceSize(entry, address + done, size - done)
      if (entry === undefined) this.unmapped('write', address + done)
      else entry.handler.write(address + done - entry.start, piece, getNumber(view, at + done, piece))
      done += piece
    }
  }

  private find(address: number): Entry | undefined {
    const last = this.last
    if (last !== undefined && address >= last.start && address < last.end) return last
    let low = 0
    let high = this.starts.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.starts[middle]! <= address) low = middle + 1
      else high = middle
    }
    const entry = this.entries[low - 1]
    if (entry === undefined || address >= entry.end) return undefined
    this.last = entry
    return entry
  }

  private exact(start: number): Entry {
    const entry = this.entries.find(candidate => candidate.start === start)
    assert(entry !== undefined, `${this.name}: a range starts at 0x${start.toString(16)}`)
    return entry
  }

  private replace(entries: Entry[]): void {
    this.entries = entries.sort((a, b) => a.start - b.start)
    this.starts = Float64Array.from(this.entries, entry => entry.start)
    this.last = undefined
    this.onChange()
  }

  private unmapped(kind: string, address: number): void {
    if (this.logged.size >= LOG_LIMIT || this.logged.has(address)) return
    this.logged.add(address)
    this.debug(`${this.name}: ${kind} of unmapped address 0x${address.toString(16)}`)
  }
}

/** Whether a write of `size` bytes to `offset` of `range` needs no completion: every byte of it must be posted. */
export function isPosted(range: BusRange, offset: number, size: number): boolean {
  const posted = range.posted ?? []
  if (posted === 'all') return true
  for (let i = 0; i < size; i++) if (!posted.includes(offset + i)) return false
  return true
}

function takesWhole(entry: Entry, address: number, size: number): boolean {
  return size <= entry.accessSize && address + size <= entry.end && (size & (size - 1)) === 0
}

/** The largest power of two that the handler, its range and the access allow; byte by byte where nothing is mapped. */
function pieceSize(entry: Entry | undefined, address: number, rest: number): number {
  if (entry === undefined) return 1
  const most = Math.min(entry.accessSize, entry.end - address, rest)
  return most >= 8 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1
}

function truncate(value: number, size: number): number {
  if (size === 1) return value & 0xff
  if (size === 2) return value & 0xffff
  return size === 4 ? value >>> 0 : value
}

function getNumber(view: DataView, at: number, size: number): number {
  let low = 0
  let high = 0
  for (let i = size - 1; i >= 0; i--) {
    if (i >= 4) high = high * 256 + view.getUint8(at + i)
    else low = low * 256 + view.getUint8(at + i)
  }
  // One rounding, at the end: byte by byte a large value would round several times.
  return high * 0x1_0000_0000 + low
}

function setNumber(view: DataView, at: number, size: number, value: number): void {
  view.setUint8(at, value)
  if (size === 1) return
  const low = value >>> 0
  const high = Math.floor(value / 0x1_0000_0000) >>> 0
  for (let i = 1; i < size; i++) view.setUint8(at + i, i < 4 ? low >>> (8 * i) : high >>> (8 * (i - 4)))
}

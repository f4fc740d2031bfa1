/**
 * A read or write under way, piece by piece: which memory comes next, and how far it is. Pieces end where the iovecs
 * do, where the host stopped short, or with the bounce buffer.
 */
import { CBuffer } from '../host/c-buffer.ts'
import { Mapping } from '../host/mapping.ts'
import { IOVEC_SIZE } from '../memory/extents.ts'
import { BlockOp, type BlockRequest } from '../virtio/blk-backend.ts'

/** Extents in one piece; what struct virtio_blk_config promises, and two more. */
const MAX_IOVECS = 256
/** The most bytes of one piece: the kernel copies what is cached in one go, while other devices wait. */
const MAX_PIECE_BYTES = 2 ** 22
const BOUNCE_BYTES = 2 ** 18

/** One for each request under way; reused. */
export class Transfer {
  request: BlockRequest
  /** Bytes that are through. */
  done = 0
  /** Write-zeroes without the host's help. */
  isZeroing = false
  retries = 0
  /** The next piece: `count` iovecs at `address`, or just `length` bytes at `address` when `count` is 0. */
  address = 0
  length = 0
  count = 0
  private iovecs: CBuffer | undefined
  private bounce: Mapping | undefined
  private bounceBytes: Uint8Array = new Uint8Array(0)
  private isBouncing = false

  constructor(request: BlockRequest) {
    this.request = request
  }

  begin(request: BlockRequest): void {
    this.request = request
    this.done = 0
    this.isZeroing = false
    this.retries = 0
    this.isBouncing = false
  }

  /** Prepares the next piece; memory that is not aligned to `alignment` goes through the bounce buffer. */
  prepare(alignment: number): void {
    const { data, dataOffset, size } = this.request
    const { done } = this
    let skip = dataOffset + done
    let index = 0
    while (skip >= data.length(index)) skip -= data.length(index++)
    const rest = Math.min(size - done, MAX_PIECE_BYTES)
    const room = data.length(index) - skip
    this.isBouncing = alignment > 1 && !this.isAligned(index, skip, rest, alignment)
    this.count = 0
    if (this.isBouncing) this.fillBounce(Math.min(rest, BOUNCE_BYTES))
    else if (room >= rest) {
      this.address = data.memory.hostAddress(data.start(index) + skip)
      this.length = rest
    } else this.fillIovecs(rest, index, room)
  }

  /** The same with zeroes: all of the piece's iovecs point to `zeroes`. */
  prepareZeroes(zeroes: Mapping): void {
    const rest = Math.min(this.request.size - this.done, MAX_IOVECS * zeroes.size)
    const { view } = this.useIovecs()
    let left = rest
    let count = 0
    for (; left > 0; count++) {
      const size = Math.min(left, zeroes.size)
      setIovec(view, count * IOVEC_SIZE, zeroes.address, size)
      left -= size
    }
    this.count = count
    this.length = rest
  }

  /** Counts `bytes` of the piece as done; true when that was the last. */
  advance(bytes: number): boolean {
    const { data, dataOffset, op, size } = this.request
    if (this.isBouncing && op === BlockOp.read) data.write(dataOffset + this.done, this.bounceBytes, 0, bytes)
    this.done += bytes
    this.retries = 0
    return this.done >= size
  }

  /** Iovecs for a piece that has none: `preadv2` takes nothing else. */
  asIovecs(): void {
    if (this.count > 0) return
    const { address, length } = this
    setIovec(this.useIovecs().view, 0, address, length)
    this.count = 1
  }

  [Symbol.dispose](): void {
    this.bounce?.[Symbol.dispose]()
  }

  private fillIovecs(rest: number, first: number, room: number): void {
    const { data, dataOffset } = this.request
    const last = Math.min(data.count, first + MAX_IOVECS)
    let length = room
    for (let i = first + 1; i < last && length < rest; i++) length += data.length(i)
    this.length = Math.min(length, rest)
    const { view } = this.useIovecs()
    this.count = data.iovecs(view, 0, MAX_IOVECS, dataOffset + this.done, this.length)
  }

  private fillBounce(length: number): void {
    const { data, dataOffset, op } = this.request
    if (this.bounce === undefined) {
      this.bounce = Mapping.anonymous(BOUNCE_BYTES)
      this.bounceBytes = this.bounce.bytes()
    }
    this.address = this.bounce.address
    this.length = length
    if (op === BlockOp.write) data.read(dataOffset + this.done, this.bounceBytes, 0, length)
  }

  /** Points `address` to the iovecs' own memory, made when first needed. */
  private useIovecs(): CBuffer {
    this.iovecs ??= new CBuffer(MAX_IOVECS * IOVEC_SIZE)
    this.address = this.iovecs.pointer as number
    return this.iovecs
  }

  /** Whether every extent of the piece starts and ends at a multiple of `alignment`. */
  private isAligned(first: number, skip: number, length: number, alignment: number): boolean {
    const { data } = this.request
    let rest = length
    let at = skip
    for (let i = first; rest > 0 && i < data.count; i++) {
      const size = Math.min(data.length(i) - at, rest)
      if (data.memory.hostAddress(data.start(i) + at) % alignment !== 0 || size % alignment !== 0) return false
      rest -= size
      at = 0
    }
    return true
  }
}

function setIovec(view: DataView, at: number, address: number, size: number): void {
  view.setUint32(at, address >>> 0, true)
  view.setUint32(at + 4, address / 0x1_0000_0000, true)
  view.setUint32(at + 8, size, true)
  view.setUint32(at + 12, 0, true)
}

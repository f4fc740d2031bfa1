/**
 * A block request from its descriptor chain, with all checks. VIRTIO 1.2 §5.2.6.
 *
 * Framing does not matter (§2.7.4.1): the header is the first 16 readable bytes, the status the last writable one.
 */
import type { Extents } from '../memory/extents.ts'
import { BlockOp, type BlockRequest } from './blk-backend.ts'
import {
  HEADER_SECTOR,
  HEADER_SIZE,
  HEADER_TYPE,
  MAX_SEGMENT_SECTORS,
  SECTOR_SIZE,
  SEGMENT_FLAGS,
  SEGMENT_NUM_SECTORS,
  SEGMENT_SECTOR,
  SEGMENT_SIZE,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
} from './blk-protocol.ts'
import { Chain, type VirtQueue } from './queue.ts'

/** What the device does next with a request. */
export const Parsed = {
  /** The backend does the rest. */
  submit: 0,
  /** There is nothing to do: the answer is VIRTIO_BLK_S_OK. */
  nothing: 1,
  /** The answer is the serial number. */
  identify: 2,
  /** The answer is `status`, because of `problem`. */
  refuse: 3,
  /** There is no place for an answer. */
  unanswerable: 4,
} as const

/** What requests are checked against. */
export interface BlkLimits {
  readonly capacitySectors: number
  readonly readOnly: boolean
  /** What offsets and sizes must be multiples of. */
  readonly alignment: number
}

/** A request under way; reused. */
export class BlkRequest implements BlockRequest {
  readonly chain: Chain
  queue: VirtQueue
  op: number = BlockOp.read
  offset = 0
  size = 0
  data: Extents
  dataOffset = 0
  unmap = false
  /** Between `pop` and the answer. */
  isBusy = false
  /** The driver has reset the queue: nobody waits for an answer. */
  dropped = false
  /** Write-through: a flush follows before the driver hears of the write. */
  stable = false
  status = 0
  problem = ''

  constructor(
    readonly index: number,
    queue: VirtQueue,
  ) {
    this.queue = queue
    this.chain = new Chain(queue.space)
    this.data = this.chain.readable
  }

  /** Reads what the chain asks for; one of `Parsed`. */
  parse(limits: BlkLimits): number {
    const { readable, writable } = this.chain
    this.stable = false
    if (writable.size === 0) return Parsed.unanswerable
    if (readable.size < HEADER_SIZE) return this.refuse(VIRTIO_BLK_S_IOERR, 'a request is shorter than its header')
    switch (readable.getUint32(HEADER_TYPE)) {
      case VIRTIO_BLK_T_IN:
        this.op = BlockOp.read
        this.data = writable
        this.dataOffset = 0
        return this.transfer(limits, writable.size - 1)
      case VIRTIO_BLK_T_OUT:
        // §5.2.6.2: VIRTIO_BLK_S_IOERR, and nothing is written.
        if (limits.readOnly) return this.refuse(VIRTIO_BLK_S_IOERR, 'a write to a read-only disk')
        this.op = BlockOp.write
        this.data = readable
        this.dataOffset = HEADER_SIZE
        return this.transfer(limits, readable.size - HEADER_SIZE)
      case VIRTIO_BLK_T_FLUSH:
        this.op = BlockOp.flush
        this.offset = 0
        this.size = 0
        return Parsed.submit
      case VIRTIO_BLK_T_GET_ID:
        // §5.2.6.1: the driver's buffer has 20 bytes.
        if (writable.size - 1 >= VIRTIO_BLK_ID_BYTES) return Parsed.identify
        return this.refuse(VIRTIO_BLK_S_IOERR, 'a buffer is too short for the serial number')
      case VIRTIO_BLK_T_DISCARD:
        this.op = BlockOp.discard
        return this.clear(limits)
      case VIRTIO_BLK_T_WRITE_ZEROES:
        this.op = BlockOp.writeZeroes
        return this.clear(limits)
      default:
        return this.refuse(VIRTIO_BLK_S_UNSUPP, 'a request of an unknown type')
    }
  }

  private transfer({ capacitySectors, alignment }: BlkLimits, size: number): number {
    // A sector number above 2^53 is rounded, but stays above any capacity.
    const sector = this.chain.readable.getU64(HEADER_SECTOR)
    if (size % alignment !== 0) return this.refuse(VIRTIO_BLK_S_IOERR, 'a size is no multiple of the block size')
    if (size / SECTOR_SIZE > capacitySectors - sector)
      return this.refuse(VIRTIO_BLK_S_IOERR, 'a request ends behind the disk')
    this.offset = sector * SECTOR_SIZE
    this.size = size
    if (this.offset % alignment !== 0) return this.refuse(VIRTIO_BLK_S_IOERR, 'a sector is not the start of a block')
    return size === 0 ? Parsed.nothing : Parsed.submit
  }

  /** VIRTIO_BLK_T_DISCARD and VIRTIO_BLK_T_WRITE_ZEROES: one segment behind the header. */
  private clear({ capacitySectors, readOnly }: BlkLimits): number {
    const { readable } = this.chain
    const bytes = readable.size - HEADER_SIZE
    if (readOnly) return this.refuse(VIRTIO_BLK_S_IOERR, 'a change of a read-only disk')
    // max_discard_seg and max_write_zeroes_seg are 1.
    if (bytes > SEGMENT_SIZE) return this.refuse(VIRTIO_BLK_S_UNSUPP, 'more than one segment')
    if (bytes < SEGMENT_SIZE) return this.refuse(VIRTIO_BLK_S_IOERR, 'a segment is too short')
    const sector = readable.getU64(HEADER_SIZE + SEGMENT_SECTOR)
    const sectors = readable.getUint32(HEADER_SIZE + SEGMENT_NUM_SECTORS)
    const flags = readable.getUint32(HEADER_SIZE + SEGMENT_FLAGS)
    // §5.2.6.2: unknown flags, and the unmap flag of a discard, are VIRTIO_BLK_S_UNSUPP.
    const known = this.op === BlockOp.discard ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
    if ((flags & ~known) !== 0) return this.refuse(VIRTIO_BLK_S_UNSUPP, 'a segment has unknown flags')
    if (sectors > MAX_SEGMENT_SECTORS) return this.refuse(VIRTIO_BLK_S_IOERR, 'a segment is too long')
    if (sectors > capacitySectors - sector) return this.refuse(VIRTIO_BLK_S_IOERR, 'a segment ends behind the disk')
    this.offset = sector * SECTOR_SIZE
    this.size = sectors * SECTOR_SIZE
    this.unmap = flags !== 0
    return sectors === 0 ? Parsed.nothing : Parsed.submit
  }

  private refuse(status: number, problem: string): number {
    this.status = status
    this.problem = problem
    return Parsed.refuse
  }
}

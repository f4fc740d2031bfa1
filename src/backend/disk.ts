/**
 * A raw or sparse file, or a block device, as a disk: requests in pieces through a DiskIo, what is cached read at once.
 *
 * A flush is fdatasync(2). Discards and zeroes become fallocate(2), on block devices too; where the host has no such
 * thing a discard does nothing (it is a hint) and zeroes are written.
 */
import { Epoll } from '../host/epoll.ts'
import { EAGAIN, EINTR, EIO, EOPNOTSUPP, errnoName } from '../host/errno.ts'
import { EPOLLET, EPOLLIN, type EventLoop } from '../host/event-loop.ts'
import type { EventFd } from '../host/eventfd.ts'
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  RWF_NOWAIT,
  readVector,
} from '../host/file.ts'
import {
  IORING_FSYNC_DATASYNC,
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_READV,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV,
} from '../host/io-uring.ts'
import { Mapping } from '../host/mapping.ts'
import {
  type BlockBackend,
  type BlockClient,
  BlockOp,
  type BlockRequest,
  type BlockSizes,
} from '../virtio/blk-backend.ts'
import type { DiskIo } from './disk-io.ts'
import { Transfer } from './disk-transfer.ts'

/** Rounds of submission in one event, before other devices get their turn. */
const MAX_ROUNDS = 16
/** An operation that was interrupted is tried again this often. */
const MAX_RETRIES = 16
const ZEROES_BYTES = 2 ** 16
/** How long a disk may take for what is under way when its machine ends. */
const CLOSE_MS = 10_000
/** Between attempts to hand over what the kernel had no room for. */
const RETRY_MS = 10
/** After reads that were not cached, this many are not tried first; doubled each time, from 1 on. */
const MAX_SKIPPED = 64

/** Memory that the ring has pinned; the index is that of the registered buffer. */
export interface PinnedRange {
  readonly address: number
  readonly size: number
}

/** What a disk is made of. */
export interface DiskOptions {
  /** How messages name it. */
  readonly path: string
  readonly fd: number
  readonly size: number
  readonly readOnly: boolean
  /** Opened with O_DIRECT: offsets, sizes and memory addresses are multiples of this; 0 for a cached disk. */
  readonly directAlignment: number
  readonly geometry: BlockSizes
  readonly io: DiskIo
  /** What `io` signals. */
  readonly event: EventFd
  readonly loop: EventLoop
  readonly pinned: readonly PinnedRange[]
  readonly warn: (message: string) => void
  /** Told by `close` when operations are left behind, which may use guest memory at any time. */
  readonly abandon: () => void
  /** For tests; CLOSE_MS if absent. */
  readonly closeLimitMs?: number
}

/** The disk. Owns `io`, but neither the file nor the event. */
export class Disk implements BlockBackend {
  readonly size: number
  readonly readOnly: boolean
  readonly depth: number
  readonly alignment: number
  readonly geometry: BlockSizes
  private readonly io: DiskIo
  private readonly transfers: Transfer[] = []
  private client: BlockClient | undefined
  /** Operations under way in `io`. */
  private active = 0
  /** A read that came alone so far: it is tried on the page cache first, which is one system call and no ring. */
  private lone: Transfer | undefined
  private triesCache: boolean
  private toSkip = 0
  private skipped = 0
  private isDeferred = false
  private zeroes: Mapping | undefined
  private readonly warned = new Set<string>()

  constructor(private readonly options: DiskOptions) {
    const { size, readOnly, directAlignment, geometry, io, event, loop } = options
    this.size = size
    this.readOnly = readOnly
    this.depth = io.entries
    this.alignment = Math.max(directAlignment, 512)
    this.geometry = geometry
    this.io = io
    this.triesCache = directAlignment === 0
    loop.watch(event.fd, EPOLLIN | EPOLLET, () => this.collect())
  }

  attach(client: BlockClient): void {
    this.client = client
  }

  submit(request: BlockRequest): void {
    const transfer = this.transfer(request)
    if (request.op === BlockOp.read && this.mayBeLone()) {
      this.lone = transfer
      return
    }
    this.startLone()
    this.start(transfer)
  }

  kick(): void {
    const { lone } = this
    if (lone !== undefined) {
      this.lone = undefined
      if (!this.readCached(lone)) this.start(lone)
    }
    if (this.io.queued > 0) this.pump()
  }

  defer(task: () => void): void {
    this.options.loop.defer(task)
  }

  close(): void {
    const { io, event, loop, path, warn, abandon } = this.options
    this.startLone()
    loop.unwatch(event.fd)
    if (this.active > 0 && !this.finishAll()) {
      // What belongs to them stays: rings, buffers and guest memory.
      warn(`disk ${path} does not answer: requests that are left to the kernel: ${this.active}`)
      abandon()
      return
    }
    io[Symbol.dispose]()
    this.zeroes?.[Symbol.dispose]()
    for (const transfer of this.transfers) transfer[Symbol.dispose]()
  }

  /** Waits until nothing is under way; false when that takes too long. */
  private finishAll(): boolean {
    const { io, event, closeLimitMs = CLOSE_MS } = this.options
    const deadline = performance.now() + closeLimitMs
    using epoll = new Epoll()
    epoll.add(event.fd, EPOLLIN)
    for (;;) {
      if (io.queued > 0) io.submit()
      else io.collect()
      this.take()
      if (this.active === 0) return true
      const left = Math.ceil(deadline - performance.now())
      if (left <= 0) return false
      // Before it is armed: what is signalled from then on is not taken.
      event.take()
      if (!io.arm()) epoll.wait(io.queued > 0 ? Math.min(RETRY_MS, left) : left)
    }
  }

  /** The request's transfer, at its start. */
  private transfer(request: BlockRequest): Transfer {
    const { transfers } = this
    let transfer = transfers[request.index]
    if (transfer === undefined) {
      transfer = new Transfer(request)
      transfers[request.index] = transfer
    }
    transfer.begin(request)
    return transfer
  }

  private mayBeLone(): boolean {
    if (!this.triesCache || this.lone !== undefined || this.io.queued > 0) return false
    if (this.toSkip === 0) return true
    this.toSkip--
    return false
  }

  private startLone(): void {
    if (this.lone !== undefined) this.start(this.lone)
    this.lone = undefined
  }

  /** Reads what the page cache has; false when that is not all. */
  private readCached(transfer: Transfer): boolean {
    const { request } = transfer
    transfer.prepare(0)
    const { length } = transfer
    transfer.asIovecs()
    const result = readVector(this.options.fd, transfer.address, transfer.count, request.offset, RWF_NOWAIT)
    if (result === length && transfer.advance(result)) {
      this.skipped = 0
      this.client?.completed(request, 0)
      return true
    }
    // A file system that cannot tell.
    if (result === -EOPNOTSUPP) this.triesCache = false
    this.skipped = Math.min(this.skipped * 2 + 1, MAX_SKIPPED)
    this.toSkip = this.skipped
    return false
  }

  /** Queues the next piece of a transfer. */
  private start(transfer: Transfer): void {
    const { request } = transfer
    this.active++
    switch (request.op) {
      case BlockOp.read:
        this.startPiece(transfer, IORING_OP_READ, IORING_OP_READV, IORING_OP_READ_FIXED)
        break
      case BlockOp.write:
        this.startPiece(transfer, IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_WRITE_FIXED)
        break
      case BlockOp.flush:
        this.io.queue(IORING_OP_FSYNC, request.index, 0, 0, 0, IORING_FSYNC_DATASYNC)
        break
      default:
        if (transfer.isZeroing) this.startZeroes(transfer)
        else {
          const isHole = request.op === BlockOp.discard || request.unmap
          const mode = FALLOC_FL_KEEP_SIZE | (isHole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE)
          // This operation has its length in the place of the address, and its mode in that of the length.
          this.io.queue(IORING_OP_FALLOCATE, request.index, request.offset, request.size, mode, 0)
        }
    }
  }

  private startPiece(transfer: Transfer, plain: number, vector: number, fixed: number): void {
    const { io } = this
    const { request } = transfer
    transfer.prepare(this.options.directAlignment)
    const { address, length, count } = transfer
    const offset = request.offset + transfer.done
    if (count > 0) io.queue(vector, request.index, offset, address, count, 0)
    else {
      const buffer = this.pinnedBuffer(address, length)
      if (buffer < 0) io.queue(plain, request.index, offset, address, length, 0)
      else io.queue(fixed, request.index, offset, address, length, 0, buffer)
    }
  }

  private startZeroes(transfer: Transfer): void {
    this.zeroes ??= Mapping.anonymous(ZEROES_BYTES)
    transfer.prepareZeroes(this.zeroes)
    const { request, address, count, done } = transfer
    this.io.queue(IORING_OP_WRITEV, request.index, request.offset + done, address, count, 0)
  }

  /** Index of the pinned range that has all of the piece, or -1. */
  private pinnedBuffer(address: number, length: number): number {
    const { pinned } = this.options
    for (let i = 0; i < pinned.length; i++) {
      const { address: start, size } = pinned[i] as PinnedRange
      if (address >= start && address + length <= start + size) return i
    }
    return -1
  }

  /** Hands over what is queued, and takes what is there, until neither is left. */
  private pump(): void {
    const { io } = this
    io.quiet()
    for (let round = 0; round < MAX_ROUNDS; round++) {
      if (io.queued > 0) io.submit()
      else io.collect()
      this.take()
      if (io.queued > 0) continue
      if (!io.arm()) return
      io.quiet()
    }
    if (this.isDeferred) return
    this.isDeferred = true
    this.options.loop.defer(() => {
      this.isDeferred = false
      this.collect()
    })
  }

  private take(): void {
    const { io } = this
    while (io.next()) {
      this.active--
      this.finish(this.transfers[io.token] as Transfer, io.result)
    }
  }

  /** Completions that came by themselves. */
  private collect(): void {
    // The thread may have closed the disk since this was deferred.
    if (this.active > 0) this.pump()
    this.client?.settled()
  }

  private finish(transfer: Transfer, result: number): void {
    const { request } = transfer
    if (result < 0) {
      this.fail(transfer, -result)
      return
    }
    const isTransfer = request.op === BlockOp.read || request.op === BlockOp.write || transfer.isZeroing
    if (!isTransfer) this.client?.completed(request, 0)
    // The file has become shorter than it was.
    else if (result === 0) this.report(transfer, EIO, 'the file ends there')
    else if (transfer.advance(result)) this.client?.completed(request, 0)
    else this.start(transfer)
  }

  private fail(transfer: Transfer, errno: number): void {
    const { request } = transfer
    if ((errno === EINTR || errno === EAGAIN) && transfer.retries++ < MAX_RETRIES) this.start(transfer)
    else if (errno === EOPNOTSUPP && request.op === BlockOp.discard) this.client?.completed(request, 0)
    else if (errno === EOPNOTSUPP && request.op === BlockOp.writeZeroes && !transfer.isZeroing) {
      transfer.isZeroing = true
      this.start(transfer)
    } else this.report(transfer, errno, `${errnoName(errno)} (errno ${errno})`)
  }

  /** Completes with an error; the user hears of it once for each kind. */
  private report({ request, done }: Transfer, errno: number, reason: string): void {
    const call = CALLS[request.op] ?? ''
    const key = `${call} ${errno}`
    if (!this.warned.has(key)) {
      this.warned.add(key)
      const { path, warn } = this.options
      warn(`disk ${path}: ${call} of ${request.size - done} bytes at ${request.offset + done} failed: ${reason}`)
    }
    this.client?.completed(request, errno)
  }
}

/** By BlockOp. */
const CALLS = ['read', 'write', 'fdatasync', 'fallocate', 'fallocate'] as const

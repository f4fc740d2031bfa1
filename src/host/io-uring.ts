/**
 * io_uring(7) through raw system calls (glibc has no wrappers): one ring, used by the thread that made it.
 *
 * The rings are memory shared with the kernel. Indexes go through Atomics: the store of the submission tail publishes
 * the entries before it, the load of the completion tail comes before the reads of the entries it covers.
 */
import type { Pointer } from 'bun:ffi'
import { assert, SysError } from '../base/errors.ts'
import { CBuffer } from './c-buffer.ts'
import { EAGAIN, EBUSY, EINTR, EINVAL, ENOSYS } from './errno.ts'
import { check, errno, libc, throwErrno } from './libc.ts'
import { Mapping, viewAt } from './mapping.ts'

// The same numbers on all architectures (asm-generic/unistd.h).
const SYS_io_uring_setup = 425
const SYS_io_uring_enter = 426
const SYS_io_uring_register = 427

export const IORING_OP_READV = 1
export const IORING_OP_WRITEV = 2
export const IORING_OP_FSYNC = 3
export const IORING_OP_READ_FIXED = 4
export const IORING_OP_WRITE_FIXED = 5
export const IORING_OP_FALLOCATE = 17
export const IORING_OP_READ = 22
export const IORING_OP_WRITE = 23
export const IORING_FSYNC_DATASYNC = 1

const IORING_SETUP_CLAMP = 1 << 4
const IORING_SETUP_TASKRUN_FLAG = 1 << 9
const IORING_SETUP_SINGLE_ISSUER = 1 << 12
const IORING_SETUP_DEFER_TASKRUN = 1 << 13
/** Linux 5.9: not needed, but such a kernel also has what is (IORING_OP_READ of 5.6, the flags behind cq_off of 5.8). */
const IORING_FEAT_POLL_32BITS = 1 << 6
const IORING_ENTER_GETEVENTS = 1
const IORING_OFF_SQ_RING = 0
const IORING_OFF_SQES = 0x1000_0000
const IORING_SQ_CQ_OVERFLOW = 1 << 1
const IORING_SQ_TASKRUN = 1 << 2
const IORING_CQ_EVENTFD_DISABLED = 1
const IORING_REGISTER_BUFFERS = 0
const IORING_REGISTER_FILES = 2
const IORING_UNREGISTER_FILES = 3
const IORING_REGISTER_EVENTFD = 4
const IOSQE_FIXED_FILE = 1

/** struct io_uring_params: sq_entries, cq_entries, flags, ..., features, ..., then where the rings' fields lie. */
const PARAMS_SIZE = 120
const PARAMS_FLAGS = 8
const PARAMS_FEATURES = 20
const PARAMS_SQ_OFF = 40
const PARAMS_CQ_OFF = 80
/** struct io_uring_sqe and io_uring_cqe, in 32-bit words. */
const SQE_WORDS = 16
const CQE_WORDS = 4
const IOVEC_SIZE = 16
const PROT_READ_WRITE = 3
const MAP_SHARED_POPULATE = 0x8001
const TWO_32 = 0x1_0000_0000

/** What the kernel's answer to io_uring_setup says about a ring, as word indexes into the mapping. */
interface RingWords {
  readonly head: number
  readonly tail: number
  readonly flags: number
  /** The submission ring's index array, or the completion entries. */
  readonly entries: number
  readonly size: number
}

/**
 * A ring on one file. Operations are queued, handed over together by `submit`, and completions taken by `next`.
 *
 * @example
 * ring.queue(IORING_OP_READ, 7, 0, buffer.pointer, 512, 0)
 * ring.submit()
 * while (ring.next()) use(ring.token, ring.result)
 */
export class IoUring {
  /** Of the completion that `next` found: what `queue` was given. */
  token = 0
  /** Of the completion that `next` found: bytes, or a negative errno. */
  result = 0
  /** Operations that `submit` has not handed over yet. */
  queued = 0
  /** How many operations may be under way. */
  readonly entries: number
  private readonly words: Uint32Array
  private readonly signed: Int32Array
  private readonly sqes: Uint32Array
  private readonly sq: RingWords
  private readonly cq: RingWords
  private readonly mappings: readonly Mapping[]
  private readonly completionEntries: number
  private sqTail: number
  private cqHead: number
  private cqTail: number

  private constructor(
    private readonly fd: number,
    params: CBuffer,
    /** Completions are collected only by io_uring_enter (IORING_SETUP_DEFER_TASKRUN). */
    private readonly deferred: boolean,
  ) {
    const u32 = (at: number) => params.view.getUint32(at, true)
    if ((u32(PARAMS_FEATURES) & IORING_FEAT_POLL_32BITS) === 0)
      throw new SysError('io_uring_setup', ENOSYS, 'ENOSYS: older than Linux 5.9')
    this.entries = u32(0)
    this.completionEntries = u32(4)
    this.sq = {
      head: u32(PARAMS_SQ_OFF) / 4,
      tail: u32(PARAMS_SQ_OFF + 4) / 4,
      flags: u32(PARAMS_SQ_OFF + 16) / 4,
      entries: u32(PARAMS_SQ_OFF + 24) / 4,
      size: this.entries,
    }
    this.cq = {
      head: u32(PARAMS_CQ_OFF) / 4,
      tail: u32(PARAMS_CQ_OFF + 4) / 4,
      flags: u32(PARAMS_CQ_OFF + 24) / 4,
      entries: u32(PARAMS_CQ_OFF + 20) / 4,
      size: this.completionEntries,
    }
    const ringBytes = 4 * Math.max(this.sq.entries + this.entries, this.cq.entries + this.completionEntries * CQE_WORDS)
    const rings = mapRing(fd, ringBytes, IORING_OFF_SQ_RING)
    const sqes = mapRing(fd, this.entries * SQE_WORDS * 4, IORING_OFF_SQES)
    this.mappings = [rings, sqes]
    const buffer = viewAt(rings.address, rings.size)
    this.words = new Uint32Array(buffer)
    this.signed = new Int32Array(buffer)
    this.sqes = new Uint32Array(viewAt(sqes.address, sqes.size))
    // Entry i of the ring is always SQE i: entries are filled in ring order.
    for (let i = 0; i < this.entries; i++) this.words[this.sq.entries + i] = i
    this.sqTail = Atomics.load(this.words, this.sq.tail)
    this.cqHead = Atomics.load(this.words, this.cq.head)
    this.cqTail = this.cqHead
  }

  /** A ring with room for at least `entries` operations; throws `SysError` (ENOSYS, EPERM: the host has none for us). */
  static create(entries: number): IoUring {
    // Completions that wait until this thread asks do not interrupt it (Linux 6.1); an older kernel says EINVAL.
    const deferring = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG
    for (const flags of [deferring | IORING_SETUP_CLAMP, IORING_SETUP_CLAMP]) {
      // Used by the kernel during the call only.
      const params = new CBuffer(PARAMS_SIZE)
      params.view.setUint32(PARAMS_FLAGS, flags, true)
      const fd = call(SYS_io_uring_setup, entries, params.pointer)
      if (fd >= 0) {
        try {
          return new IoUring(fd, params, (flags & deferring) !== 0)
        } catch (error) {
          libc.close(fd)
          throw error
        }
      }
      if (errno() !== EINVAL) break
    }
    throwErrno('io_uring_setup')
  }

  /** Makes `fd` the file of all operations. */
  setFile(fd: number): void {
    const list = new CBuffer(4)
    list.view.setInt32(0, fd, true)
    this.register('FILES', IORING_REGISTER_FILES, list, 1)
  }

  /** Signals `fd` for completions, except between `quiet` and `arm`. */
  setEventFd(fd: number): void {
    const list = new CBuffer(4)
    list.view.setInt32(0, fd, true)
    this.register('EVENTFD', IORING_REGISTER_EVENTFD, list, 1)
  }

  /**
   * Pins memory (at most 1 GiB each) for IORING_OP_READ_FIXED and IORING_OP_WRITE_FIXED. All of it becomes resident,
   * and it must not be unmapped or punched while the ring lives. Throws `SysError` (ENOMEM: RLIMIT_MEMLOCK).
   */
  setBuffers(ranges: readonly { readonly address: number; readonly size: number }[]): void {
    const iovecs = new CBuffer(ranges.length * IOVEC_SIZE)
    for (const [i, { address, size }] of ranges.entries()) {
      iovecs.view.setBigUint64(i * IOVEC_SIZE, BigInt(address), true)
      iovecs.view.setBigUint64(i * IOVEC_SIZE + 8, BigInt(size), true)
    }
    this.register('BUFFERS', IORING_REGISTER_BUFFERS, iovecs, ranges.length)
  }

  /**
   * Queues an operation on the file. `flags` is the operation's own word (rw_flags, fsync_flags); `buffer` the index
   * of a registered one. What `address` points to must live until the completion. At most `entries` may be under way.
   */
  queue(
    opcode: number,
    token: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
    buffer = 0,
  ): void {
    assert(this.queued < this.entries, 'the submission ring has room')
    const { sqes } = this
    const at = (this.sqTail & (this.entries - 1)) * SQE_WORDS
    sqes[at] = opcode | (IOSQE_FIXED_FILE << 8)
    sqes[at + 1] = 0
    sqes[at + 2] = offset >>> 0
    sqes[at + 3] = (offset / TWO_32) >>> 0
    sqes[at + 4] = address >>> 0
    sqes[at + 5] = (address / TWO_32) >>> 0
    sqes[at + 6] = length
    sqes[at + 7] = flags
    sqes[at + 8] = token
    sqes[at + 9] = 0
    sqes[at + 10] = buffer
    this.sqTail = (this.sqTail + 1) >>> 0
    this.queued++
  }

  /** Hands over what is queued. What can be answered at once is there when this returns. */
  submit(): void {
    // Publishes the entries: the kernel reads them after the tail.
    Atomics.store(this.words, this.sq.tail, this.sqTail)
    while (this.queued > 0) {
      const taken = this.enter(this.queued, 0, this.deferred ? IORING_ENTER_GETEVENTS : 0)
      if (taken > 0) this.queued -= taken
      // No memory for more now, or too many completions untaken: some of these will be there first.
      else if (taken !== -EINTR) return
    }
  }

  /** Takes a completion into `token` and `result`; false when there is none. */
  next(): boolean {
    if (this.cqHead === this.cqTail) {
      this.cqTail = Atomics.load(this.words, this.cq.tail)
      if (this.cqHead === this.cqTail) return false
    }
    const at = this.cq.entries + (this.cqHead & (this.completionEntries - 1)) * CQE_WORDS
    this.token = this.words[at] as number
    this.result = this.signed[at + 2] as number
    this.cqHead = (this.cqHead + 1) >>> 0
    // Gives the entry back, after it was read.
    Atomics.store(this.words, this.cq.head, this.cqHead)
    return true
  }

  /** No signals until `arm`: completions are looked for anyhow. */
  quiet(): void {
    Atomics.store(this.words, this.cq.flags, IORING_CQ_EVENTFD_DISABLED)
  }

  /** Signals from now on; true when something came meanwhile, so look again. */
  arm(): boolean {
    // In this order: what the kernel finishes after the store signals, what it finished before is seen by the loads.
    Atomics.store(this.words, this.cq.flags, 0)
    return this.hasWork() || Atomics.load(this.words, this.cq.tail) !== this.cqHead
  }

  /** Collects completions that wait for this thread. */
  collect(): void {
    if (this.hasWork()) this.enter(0, 0, IORING_ENTER_GETEVENTS)
  }

  /** Blocks until there is a completion to take. */
  wait(): void {
    for (;;) {
      this.submit()
      if (Atomics.load(this.words, this.cq.tail) !== this.cqHead) return
      // What could not be handed over may be all there is: then there is nothing to block for.
      if (this.queued === 0) this.enter(0, 1, IORING_ENTER_GETEVENTS)
    }
  }

  [Symbol.dispose](): void {
    // The kernel takes the ring apart later; the file (and its lock) must not be held until then.
    call(SYS_io_uring_register, this.fd, IORING_UNREGISTER_FILES, 0, 0)
    libc.close(this.fd)
    for (const mapping of this.mappings) mapping[Symbol.dispose]()
  }

  private hasWork(): boolean {
    return (Atomics.load(this.words, this.sq.flags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !== 0
  }

  /** io_uring_enter(2): how many entries were taken, or a negative errno of those that pass. */
  private enter(count: number, least: number, flags: number): number {
    const taken = call(SYS_io_uring_enter, this.fd, count, least, flags)
    if (taken >= 0) return taken
    const number = errno()
    if (number === EINTR || number === EAGAIN || number === EBUSY) return -number
    throwErrno('io_uring_enter')
  }

  private register(name: string, opcode: number, list: CBuffer, count: number): void {
    const result = call(SYS_io_uring_register, this.fd, opcode, list.pointer, count)
    check(`io_uring_register(${name})`, result)
  }
}

/** syscall(2) with up to six arguments. */
function call(number: number, a: number, b: number | Pointer, c: number | Pointer = 0, d = 0): number {
  return libc.syscall(number, a, b, c, d, 0, 0) as number
}

function mapRing(fd: number, size: number, offset: number): Mapping {
  const address = libc.mmap(null, size, PROT_READ_WRITE, MAP_SHARED_POPULATE, fd, offset) as number | null
  if (address === null || address < 0 || address >= 2 ** 64 - 4096) throwErrno('mmap(io_uring)')
  return Mapping.adopt(address, size)
}

/**
 * DiskIo without io_uring: a thread of its own does the system calls, one after the other, so that a slow disk stalls
 * no other device. Operations and completions go through two rings in shared memory.
 *
 *   device thread                         I/O thread
 *   queue, submit: SUBMITTED, bell  --->  Atomics.wait on the bell
 *   next:          COMPLETED        <---  eventfd, once for each `arm`
 */

import { CBuffer } from '../host/c-buffer.ts'
import { EINVAL } from '../host/errno.ts'
import { EventFd } from '../host/eventfd.ts'
import { allocate, readVector, syncData, writeVector } from '../host/file.ts'
import {
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_READV,
  IORING_OP_WRITE,
  IORING_OP_WRITEV,
} from '../host/io-uring.ts'
import { IOVEC_SIZE } from '../memory/extents.ts'
import type { DiskIo } from './disk-io.ts'

const ENTRIES = 256
/** Counters, which wrap at 2^32: operations handed over, operations completed. */
const SUBMITTED = 0
const COMPLETED = 1
/** Changes whenever the I/O thread has a reason to look. */
const BELL = 2
const STOP = 3
/** 1: completions do not signal. */
const QUIET = 4
const HEADER_WORDS = 8
/** An operation: opcode, token, offset, address, length (the 64-bit ones as two words). */
const OPERATION_WORDS = 8
/** A completion: token, result. */
const COMPLETION_WORDS = 2
const COMPLETIONS = HEADER_WORDS + ENTRIES * OPERATION_WORDS
const TOTAL_WORDS = COMPLETIONS + ENTRIES * COMPLETION_WORDS
const TWO_32 = 0x1_0000_0000

/** What both threads need; plain data for a Worker. */
export interface DiskChannel {
  readonly shared: SharedArrayBuffer
  /** Signalled for completions. */
  readonly eventFd: number
  /** The disk. */
  readonly fd: number
}

/** A channel's memory. */
export function createChannelMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(TOTAL_WORDS * 4)
}

/** The device thread's end. */
export class ThreadIo implements DiskIo {
  readonly entries = ENTRIES
  queued = 0
  token = 0
  result = 0
  private readonly words: Int32Array
  private submitted: number
  private taken: number

  constructor({ shared }: DiskChannel) {
    this.words = new Int32Array(shared)
    this.submitted = Atomics.load(this.words, SUBMITTED)
    this.taken = this.submitted
  }

  queue(opcode: number, token: number, offset: number, address: number, length: number): void {
    const { words } = this
    const at = HEADER_WORDS + (this.submitted & (ENTRIES - 1)) * OPERATION_WORDS
    words[at] = opcode
    words[at + 1] = token
    words[at + 2] = offset >>> 0
    words[at + 3] = offset / TWO_32
    words[at + 4] = address >>> 0
    words[at + 5] = address / TWO_32
    words[at + 6] = length
    this.submitted = (this.submitted + 1) | 0
    this.queued++
  }

  submit(): void {
    if (this.queued === 0) return
    this.queued = 0
    // Publishes the operations before it.
    Atomics.store(this.words, SUBMITTED, this.submitted)
    ring(this.words)
  }

  next(): boolean {
    const { words } = this
    if (Atomics.load(words, COMPLETED) === this.taken) return false
    const at = COMPLETIONS + (this.taken & (ENTRIES - 1)) * COMPLETION_WORDS
    this.token = words[at] as number
    this.result = words[at + 1] as number
    this.taken = (this.taken + 1) | 0
    return true
  }

  quiet(): void {
    Atomics.store(this.words, QUIET, 1)
  }

  arm(): boolean {
    // In this order: a completion after the store signals, one before it is seen by the load.
    Atomics.store(this.words, QUIET, 0)
    return Atomics.load(this.words, COMPLETED) !== this.taken
  }

  collect(): void {}

  [Symbol.dispose](): void {}
}

/** The I/O thread: does operations until `stopChannel`. */
export function serveChannel({ shared, eventFd, fd }: DiskChannel): void {
  const words = new Int32Array(shared)
  const event = new EventFd(eventFd)
  const iovec = new CBuffer(IOVEC_SIZE)
  let done = Atomics.load(words, COMPLETED)
  for (;;) {
    const bell = Atomics.load(words, BELL)
    if (Atomics.load(words, SUBMITTED) === done) {
      if (Atomics.load(words, STOP) !== 0) return
      Atomics.wait(words, BELL, bell)
      continue
    }
    const from = HEADER_WORDS + (done & (ENTRIES - 1)) * OPERATION_WORDS
    const to = COMPLETIONS + (done & (ENTRIES - 1)) * COMPLETION_WORDS
    words[to] = words[from + 1] as number
    words[to + 1] = execute(fd, words, from, iovec)
    done = (done + 1) | 0
    Atomics.store(words, COMPLETED, done)
    if (Atomics.exchange(words, QUIET, 1) === 0) event.signal()
  }
}

/** Lets the I/O thread end when it has done everything. */
export function stopChannel({ shared }: DiskChannel): void {
  const words = new Int32Array(shared)
  Atomics.store(words, STOP, 1)
  ring(words)
}

function ring(words: Int32Array): void {
  Atomics.add(words, BELL, 1)
  Atomics.notify(words, BELL)
}

/** One operation; `iovec` for those that have none. Bytes, or a negative errno. */
function execute(fd: number, words: Int32Array, at: number, iovec: CBuffer): number {
  const offset = wide(words, at + 2)
  const address = wide(words, at + 4)
  const length = words[at + 6] as number
  switch (words[at]) {
    case IORING_OP_READV:
      return readVector(fd, address, length, offset, 0)
    case IORING_OP_WRITEV:
      return writeVector(fd, address, length, offset)
    case IORING_OP_READ:
      return readVector(fd, single(iovec, words, at), 1, offset, 0)
    case IORING_OP_WRITE:
      return writeVector(fd, single(iovec, words, at), 1, offset)
    case IORING_OP_FSYNC:
      return syncData(fd)
    case IORING_OP_FALLOCATE:
      return allocate(fd, length, offset, address)
    default:
      return -EINVAL
  }
}

/** The operation's memory as an iovec. */
function single(iovec: CBuffer, words: Int32Array, at: number): number {
  iovec.view.setInt32(0, words[at + 4] as number, true)
  iovec.view.setInt32(4, words[at + 5] as number, true)
  iovec.view.setInt32(8, words[at + 6] as number, true)
  return iovec.pointer as number
}

function wide(words: Int32Array, at: number): number {
  return ((words[at + 1] as number) >>> 0) * TWO_32 + ((words[at] as number) >>> 0)
}

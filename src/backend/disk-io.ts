/**
 * How a disk's operations reach the host: handed over in batches, completed in any order. IoUring is one; ThreadIo
 * (disk-thread.ts) does the same with a thread where the host has no io_uring. The opcodes are io_uring's.
 */
export interface DiskIo {
  /** The most operations that may be under way. */
  readonly entries: number
  /** Operations queued and not handed over. */
  readonly queued: number
  /** Of the completion that `next` found: what `queue` was given; bytes, or a negative errno. */
  readonly token: number
  readonly result: number
  /** Queues an IORING_OP_*; the arguments are those of the submission queue entry. */
  queue(
    opcode: number,
    token: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
    buffer?: number,
  ): void
  /** Hands over what is queued. */
  submit(): void
  /** Takes a completion; false when there is none. */
  next(): boolean
  /** Completions do not signal until `arm`. */
  quiet(): void
  /** They signal from now on; true when something came meanwhile. */
  arm(): boolean
  /** Makes completions visible to `next` that wait for this thread. */
  collect(): void
  [Symbol.dispose](): void
}

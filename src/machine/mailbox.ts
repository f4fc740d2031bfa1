/**
 * The way of a vCPU's port and MMIO accesses to the device thread: per vCPU a ring of requests in shared memory.
 *
 * The vCPU thread is the only producer, the device thread the only consumer; requests are served in order. A *posted*
 * write needs no answer, so the vCPU goes straight back into the guest; every other access waits for its answer.
 *
 * Waking: the device thread announces how it sleeps (`Sleep`), looks at the rings once more, then blocks. A producer
 * first publishes its request and then looks at the announcement, so one of the two always sees the other (Atomics
 * order store before load on both sides).
 */

/** How the device thread waits at the moment. */
export const Sleep = {
  /** It runs and will look at every ring before it sleeps. */
  awake: 0,
  /** It sleeps until woken. */
  deep: 1,
  /** It looks again within a millisecond: posted writes need not wake it until they pile up. */
  light: 2,
} as const

/** What a request asks for. */
export const Op = { portRead: 0, portWrite: 1, mmioRead: 2, mmioWrite: 3 } as const

const SLOTS = 64
/** Posted writes at which a lightly sleeping device thread is woken: one burst of a 16550's FIFO. */
const PILE = 16

/** How often a waiting vCPU thread looks whether the machine is being stopped. */
const ABANDON_CHECK_MS = 100

const HEAD = 0
const TAIL = 1
const RESULT_LOW = 2
const RESULT_HIGH = 3
const SLOTS_AT = 8
const SLOT_WORDS = 8
const MAILBOX_WORDS = SLOTS_AT + SLOTS * SLOT_WORDS

/** A request as the device thread sees it; one object is reused for all. */
export interface Request {
  op: number
  size: number
  address: number
  low: number
  high: number
}

/** Bytes of shared memory for `count` mailboxes and the sleep word. */
export function mailboxBytes(count: number): number {
  return 4 * (1 + count * MAILBOX_WORDS)
}

/** One vCPU's mailbox; both sides use this type. The sleep word is word 0, shared by all mailboxes. */
export class Mailbox {
  private readonly words: Int32Array
  private readonly unsigned: Uint32Array
  private readonly sleepWord: Int32Array

  constructor(shared: SharedArrayBuffer, index: number) {
    const start = 4 * (1 + index * MAILBOX_WORDS)
    this.words = new Int32Array(shared, start, MAILBOX_WORDS)
    this.unsigned = new Uint32Array(shared, start, MAILBOX_WORDS)
    this.sleepWord = new Int32Array(shared, 0, 1)
  }

  /** The sleep word of a set of mailboxes, for the device thread. */
  static sleepWord(shared: SharedArrayBuffer): Int32Array {
    return new Int32Array(shared, 0, 1)
  }

  /**
   * Producer: a write that needs no answer. Returns whether the device thread has to be woken.
   * A full ring waits until the device thread has taken something.
   */
  post(op: number, address: number, size: number, low: number, abandoned: () => boolean): boolean {
    const head = this.enqueue(op, address, size, low, 0, abandoned)
    const sleep = Atomics.load(this.sleepWord, 0)
    if (sleep === Sleep.awake) return false
    const pending = (head - Atomics.load(this.words, TAIL)) & 0xffff
    return (sleep === Sleep.deep || pending >= PILE) && this.claimWake()
  }

  /** Producer: puts a request that `await` will get the answer of; returns whether to wake the device thread. */
  ask(op: number, address: number, size: number, low: number, high: number, abandoned: () => boolean): boolean {
    this.enqueue(op, address, size, low, high, abandoned)
    return Atomics.load(this.sleepWord, 0) !== Sleep.awake && this.claimWake()
  }

  /**
   * Producer: blocks until everything in the ring is served; the answer is in `resultLow` and `resultHigh`.
   * False when `abandoned` said meanwhile that nobody will answer.
   */
  await(abandoned: () => boolean): boolean {
    const head = Atomics.load(this.words, HEAD)
    return this.waitFor(tail => tail === head, abandoned)
  }

  get resultLow(): number {
    return this.unsigned[RESULT_LOW] as number
  }

  get resultHigh(): number {
    return this.unsigned[RESULT_HIGH] as number
  }

  /** Consumer: whether a request waits. */
  get pending(): boolean {
    return Atomics.load(this.words, HEAD) !== Atomics.load(this.words, TAIL)
  }

  /** Consumer: copies the oldest request into `request`; false when there is none. */
  peek(request: Request): boolean {
    const tail = Atomics.load(this.words, TAIL)
    if (tail === Atomics.load(this.words, HEAD)) return false
    const at = SLOTS_AT + (tail % SLOTS) * SLOT_WORDS
    const { unsigned } = this
    request.op = unsigned[at] as number
    request.size = unsigned[at + 1] as number
    request.address = (unsigned[at + 3] as number) * 2 ** 32 + (unsigned[at + 2] as number)
    request.low = unsigned[at + 4] as number
    request.high = unsigned[at + 5] as number
    return true
  }

  /** Consumer: answers the request that `peek` showed and lets the vCPU go on. */
  complete(low: number, high: number): void {
    this.unsigned[RESULT_LOW] = low
    this.unsigned[RESULT_HIGH] = high
    // Storing the tail publishes the result words before it.
    Atomics.store(this.words, TAIL, (Atomics.load(this.words, TAIL) + 1) & 0xffff)
    Atomics.notify(this.words, TAIL)
  }

  private enqueue(
    op: number,
    address: number,
    size: number,
    low: number,
    high: number,
    abandoned: () => boolean,
  ): number {
    const head = Atomics.load(this.words, HEAD)
    // Abandoned: the request is lost with the machine, and no slot that is in use may be overwritten.
    if (!this.waitFor(tail => ((head - tail) & 0xffff) < SLOTS, abandoned)) return head
    const at = SLOTS_AT + (head % SLOTS) * SLOT_WORDS
    const { unsigned } = this
    unsigned[at] = op
    unsigned[at + 1] = size
    unsigned[at + 2] = address % 2 ** 32
    unsigned[at + 3] = Math.floor(address / 2 ** 32)
    unsigned[at + 4] = low
    unsigned[at + 5] = high
    const next = (head + 1) & 0xffff
    Atomics.store(this.words, HEAD, next)
    return next
  }

  private waitFor(reached: (tail: number) => boolean, abandoned: () => boolean): boolean {
    for (;;) {
      const tail = Atomics.load(this.words, TAIL)
      if (reached(tail)) return true
      if (Atomics.wait(this.words, TAIL, tail, ABANDON_CHECK_MS) === 'timed-out' && abandoned()) return false
    }
  }

  private claimWake(): boolean {
    return Atomics.exchange(this.sleepWord, 0, Sleep.awake) !== Sleep.awake
  }
}

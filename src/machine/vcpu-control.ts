/**
 * What the main thread wants of a vCPU thread and what that does: a few shared words per vCPU.
 *
 * The main thread stores the wish, sets the run page's immediate_exit and sends the kick; the vCPU thread clears
 * immediate_exit and then loads the wish, so a wish is never missed, whether the vCPU was in the guest or not.
 */

/** What the main thread wants. */
export const Wish = { run: 0, pause: 1, stop: 2 } as const

/** What the vCPU thread does. */
export const VcpuState = { starting: 0, running: 1, paused: 2, stopped: 3 } as const

const WISH = 0
const STATE = 1
const TID = 2
const EXITS = 4
const WORDS = 16

/** Kinds of exits that are counted. */
export const EXIT_COUNTERS = ['io', 'mmio', 'forwarded', 'posted', 'interrupted', 'other'] as const
export type ExitCounter = (typeof EXIT_COUNTERS)[number]

/** Bytes of shared memory for `count` vCPUs. */
export function controlBytes(count: number): number {
  return 4 * WORDS * count
}

/** One vCPU's words; both sides use this type. */
export class VcpuControl {
  private readonly words: Int32Array
  private readonly counters: Uint32Array

  constructor(shared: SharedArrayBuffer, index: number) {
    this.words = new Int32Array(shared, 4 * WORDS * index, WORDS)
    this.counters = new Uint32Array(shared, 4 * WORDS * index + 4 * EXITS, EXIT_COUNTERS.length)
  }

  get wish(): number {
    return Atomics.load(this.words, WISH)
  }

  set wish(wish: number) {
    Atomics.store(this.words, WISH, wish)
    Atomics.notify(this.words, WISH)
  }

  /** vCPU thread: blocks while the main thread wants a pause. */
  waitWhilePaused(): void {
    while (this.wish === Wish.pause) Atomics.wait(this.words, WISH, Wish.pause)
  }

  /** vCPU thread: blocks until the main thread changes its wish, or for a short while. */
  waitUntilChanged(): void {
    Atomics.wait(this.words, WISH, this.wish, 1000)
  }

  get state(): number {
    return Atomics.load(this.words, STATE)
  }

  set state(state: number) {
    Atomics.store(this.words, STATE, state)
  }

  get threadId(): number {
    return Atomics.load(this.words, TID)
  }

  set threadId(tid: number) {
    Atomics.store(this.words, TID, tid)
  }

  /** vCPU thread: counts an exit by its index in EXIT_COUNTERS; wraps at 2^32. */
  count(counter: number): void {
    this.counters[counter] = (this.counters[counter] as number) + 1
  }

  /** The counters by name. */
  exits(): Record<ExitCounter, number> {
    return Object.fromEntries(EXIT_COUNTERS.map((name, i) => [name, this.counters[i] as number])) as Record<
      ExitCounter,
      number
    >
  }
}

/**
 * Looking at a queue for a while costs less than a notification and the wake-up behind it, when the driver is quick.
 * Whoever owns the thread decides whether and for how long; devices know nothing of it.
 */
import type { VirtQueue } from './queue.ts'

/** A queue that waits for chains. */
export interface IdleQueue {
  /** Undefined when the queue may not be used at present: then nothing is to be done for it. */
  readonly queue: VirtQueue | undefined
  /** There are chains. */
  serve(): void
}

/** Looks at idle queues. */
export interface QueuePoller {
  /**
   * A queue has been emptied. True: it is looked at from now on, until it has chains (`serve`) or the poller gives up
   * and arms its notifications. False: they are to be armed at once.
   */
  watch(idle: IdleQueue): boolean
}

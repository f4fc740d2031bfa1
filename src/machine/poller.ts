/**
 * Polling of idle virtqueues by the device thread. When a driver's next request follows soon, the thread looks for it
 * for a while instead of going to sleep: the driver then needs no notification (an exit from the guest) and the thread
 * no wake-up. For how long follows the driver: as long as its requests came lately, not at all when it takes longer than
 * the limit. Only where the host has a processor to spare for it.
 */
import type { IdleQueue, QueuePoller } from '../virtio/queue-poller.ts'

/** The longest look. Two exits on a slow host; a wake-up that it saves costs about half as much. */
const MAX_MS = 0.2
/** Room for a driver that is a little slower than the last time. */
const SLACK = 2

/** Looks at the queues for each look at the descriptors. */
const LOOKS = 16

/** Polls for one device thread. */
export class Poller implements QueuePoller {
  private idle: IdleQueue[] = []
  /** How long to look; 0: not at all. */
  private limitMs = 0
  /** When the queues last ran empty. */
  private idleSinceMs = 0

  /** `enabled`: there is a processor to spare. `interrupted`: something else waits for the thread. */
  constructor(
    private readonly enabled: boolean,
    private readonly interrupted: () => boolean,
    private readonly now: () => number = () => performance.now(),
  ) {}

  watch(idle: IdleQueue): boolean {
    if (!this.enabled) return false
    this.idleSinceMs = this.now()
    if (this.limitMs === 0) return false
    if (!this.idle.includes(idle)) this.idle.push(idle)
    return true
  }

  /** There are queues that are looked at, whose drivers do not notify. */
  get isWatching(): boolean {
    return this.idle.length > 0
  }

  /** The thread was woken, and has not served anything yet: learns how long the driver took. */
  woken(): void {
    if (this.enabled) this.learn(this.now() - this.idleSinceMs)
  }

  /**
   * Looks until a queue has chains, which are served, or something else is to be done; `check` handles what else may
   * have happened and says whether it did. False when nothing came: then the notifications are armed.
   */
  poll(check: () => boolean): boolean {
    if (this.idle.length === 0) return false
    const start = this.now()
    do {
      // The descriptors are a system call, the queues are memory.
      for (let look = 0; look < LOOKS; look++) if (this.serveNew()) return true
      if (this.interrupted() || check()) return true
    } while (this.now() - start < this.limitMs)
    this.limitMs = 0
    return this.giveUp()
  }

  private serveNew(): boolean {
    for (let i = 0; i < this.idle.length; i++) {
      const idle = this.idle[i] as IdleQueue
      if (idle.queue?.hasNew !== true) continue
      this.idle.splice(i, 1)
      // Before the queue is served, and idle again.
      this.learn(this.now() - this.idleSinceMs)
      idle.serve()
      return true
    }
    return false
  }

  /** Arms all notifications; true when chains came before that. */
  private giveUp(): boolean {
    const queues = this.idle
    this.idle = []
    let found = false
    for (const idle of queues)
      if (idle.queue?.armNotifications() === true) {
        idle.serve()
        found = true
      }
    return found
  }

  private learn(tookMs: number): void {
    this.limitMs = tookMs > MAX_MS ? 0 : Math.min(MAX_MS, Math.max(this.limitMs, tookMs * SLACK))
  }
}

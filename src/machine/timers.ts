/** One-shot timers of the device thread, all on one timerfd. */
import type { Timer } from '../devices/timer.ts'
import { TimerFd } from '../host/timerfd.ts'

interface Armed {
  deadlineMs: number
  expired: () => void
}

/** A set of timers that share a descriptor. */
export class Timers {
  private readonly timerFd = new TimerFd()
  private readonly armed = new Set<Armed>()

  /** Readable when a timer has expired; call `fire` then. */
  get fd(): number {
    return this.timerFd.fd
  }

  /** A new timer for a device. */
  create(): Timer {
    let current: Armed | undefined
    const cancel = () => {
      if (current === undefined) return
      this.armed.delete(current)
      current = undefined
      this.rearm()
    }
    return {
      arm: (delayMs, expired) => {
        if (current !== undefined) this.armed.delete(current)
        current = { deadlineMs: performance.now() + delayMs, expired }
        this.armed.add(current)
        this.rearm()
      },
      cancel,
    }
  }

  /** Runs what has expired. */
  fire(): void {
    this.timerFd.take()
    const now = performance.now()
    const due = [...this.armed].filter(timer => timer.deadlineMs <= now)
    // One may cancel another, or arm it again.
    for (const timer of due) if (this.armed.delete(timer)) timer.expired()
    this.rearm()
  }

  [Symbol.dispose](): void {
    this.timerFd[Symbol.dispose]()
  }

  private rearm(): void {
    let next = Number.POSITIVE_INFINITY
    for (const timer of this.armed) next = Math.min(next, timer.deadlineMs)
    if (next === Number.POSITIVE_INFINITY) this.timerFd.disarm()
    else this.timerFd.arm(next - performance.now())
  }
}

/** timerfd(2): a one-shot timer that a poller can wait for. */
import { CBuffer } from './c-buffer.ts'
import { check, libc } from './libc.ts'

const CLOCK_MONOTONIC = 1
const TFD_FLAGS = 0o2004000 // TFD_CLOEXEC | TFD_NONBLOCK

/** Becomes readable once, `armMs` after it was armed. */
export class TimerFd {
  readonly fd = check('timerfd_create', libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS))
  // struct itimerspec: interval (s, ns), value (s, ns), 64-bit each.
  private readonly spec = new CBuffer(32)
  private readonly expirations = new CBuffer(8)

  /** Arms for `delayMs` (fractions allowed, at least 1 us); replaces what was armed before. */
  arm(delayMs: number): void {
    const delayNs = Math.max(1000, Math.round(delayMs * 1e6))
    this.set(Math.floor(delayNs / 1e9), delayNs % 1e9)
  }

  disarm(): void {
    this.set(0, 0)
  }

  /** Takes the expiry, so that the descriptor is no longer readable. */
  take(): void {
    libc.read(this.fd, this.expirations.pointer, 8)
  }

  private set(seconds: number, nanoseconds: number): void {
    this.spec.view.setUint32(16, seconds, true)
    this.spec.view.setUint32(24, nanoseconds, true)
    check('timerfd_settime', libc.timerfd_settime(this.fd, 0, this.spec.pointer, null))
  }

  [Symbol.dispose](): void {
    libc.close(this.fd)
  }
}

/** eventfd(2): the wake-up between threads, and between KVM and a thread (irqfd, ioeventfd). */
import { CBuffer } from './c-buffer.ts'
import { EAGAIN } from './errno.ts'
import { check, errno, libc, throwErrno } from './libc.ts'

const EFD_NONBLOCK = 0o4000
const EFD_CLOEXEC = 0o2000000

/** A non-blocking counter that wakes whoever polls it. */
export class EventFd {
  // The 8 bytes that read(2) and write(2) use; kept alive by this object.
  private readonly count = new CBuffer(8)

  /** Wraps an eventfd that another thread of this process made (`fd` of its EventFd). */
  constructor(readonly fd: number) {}

  static create(): EventFd {
    return new EventFd(check('eventfd', libc.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)))
  }

  /** Adds one to the counter and wakes the poller. */
  signal(): void {
    this.count.view.setUint32(0, 1, true)
    this.count.view.setUint32(4, 0, true)
    // EAGAIN: the counter is at its maximum, so the poller is awake already.
    if ((libc.write(this.fd, this.count.pointer, 8) as number) < 0 && errno() !== EAGAIN) throwErrno('write(eventfd)')
  }

  /** Takes the counter: how often it was signalled since the last call, 0 for never. */
  take(): number {
    if ((libc.read(this.fd, this.count.pointer, 8) as number) < 0) {
      if (errno() === EAGAIN) return 0
      throwErrno('read(eventfd)')
    }
    return this.count.view.getUint32(0, true)
  }

  [Symbol.dispose](): void {
    libc.close(this.fd)
  }
}

/** epoll(7): what an I/O thread blocks in. */
import { CBuffer } from './c-buffer.ts'
import { EINTR } from './errno.ts'
import { check, errno, libc, throwErrno } from './libc.ts'

const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLL_CTL_MOD = 3
const MAX_EVENTS = 64

/** Readiness masks of epoll_ctl(2). */
export const EPOLLIN = 0x1
export const EPOLLOUT = 0x4
export const EPOLLERR = 0x8
export const EPOLLHUP = 0x10
/** Report each readiness once: an eventfd need not be read. */
export const EPOLLET = 0x8000_0000

// struct epoll_event is packed on x86-64 only (12 bytes, data at 4); elsewhere it is 16 bytes with data at 8.
const EVENT_SIZE = process.arch === 'x64' ? 12 : 16
const EVENT_DATA = process.arch === 'x64' ? 4 : 8

/** A set of descriptors to wait for, each known by the descriptor's own number. */
export class Epoll {
  private readonly fd = check('epoll_create1', libc.epoll_create1(EPOLL_CLOEXEC))
  private readonly event = new CBuffer(EVENT_SIZE)
  private readonly events = new CBuffer(EVENT_SIZE * MAX_EVENTS)

  add(fd: number, events: number = EPOLLIN): void {
    this.event.view.setUint32(0, events, true)
    this.event.view.setUint32(EVENT_DATA, fd, true)
    check('epoll_ctl(ADD)', libc.epoll_ctl(this.fd, EPOLL_CTL_ADD, fd, this.event.pointer))
  }

  modify(fd: number, events: number): void {
    this.event.view.setUint32(0, events, true)
    this.event.view.setUint32(EVENT_DATA, fd, true)
    check('epoll_ctl(MOD)', libc.epoll_ctl(this.fd, EPOLL_CTL_MOD, fd, this.event.pointer))
  }

  remove(fd: number): void {
    check('epoll_ctl(DEL)', libc.epoll_ctl(this.fd, EPOLL_CTL_DEL, fd, this.event.pointer))
  }

  /** Blocks until something is ready or `timeoutMs` has passed (-1: for ever); returns how many are ready. */
  wait(timeoutMs: number): number {
    const count = libc.epoll_wait(this.fd, this.events.pointer, MAX_EVENTS, timeoutMs)
    if (count >= 0) return count
    if (errno() !== EINTR) throwErrno('epoll_wait')
    return 0
  }

  /** The descriptor of ready event `index`, below what `wait` returned. */
  readyFd(index: number): number {
    return this.events.view.getUint32(index * EVENT_SIZE + EVENT_DATA, true)
  }

  /** What ready event `index` is ready for. */
  readyEvents(index: number): number {
    return this.events.view.getUint32(index * EVENT_SIZE, true)
  }

  [Symbol.dispose](): void {
    libc.close(this.fd)
  }
}

/** What an I/O thread does all day: waits for descriptors and calls whoever watches them. */
import { Epoll } from './epoll.ts'

export { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT } from './epoll.ts'

/** Told which of the watched events (and EPOLLERR, EPOLLHUP) are there. */
export type Watcher = (events: number) => void

/**
 * Descriptors with their watchers, for one thread.
 *
 * @example loop.watch(socket, EPOLLIN, () => receive())
 */
export class EventLoop {
  private readonly epoll = new Epoll()
  private readonly watchers = new Map<number, Watcher>()
  private deferred: (() => void)[] = []
  /** Watched since the present round began: its events for these numbers are those of descriptors closed meanwhile. */
  private readonly fresh = new Set<number>()
  private isCalling = false

  /** Calls `watcher` from `wait` while `fd` is ready; with EPOLLET, when it becomes ready. Once per descriptor. */
  watch(fd: number, events: number, watcher: Watcher): void {
    this.epoll.add(fd, events)
    this.watchers.set(fd, watcher)
    if (this.isCalling) this.fresh.add(fd)
  }

  /** Changes what `fd` is watched for. */
  modify(fd: number, events: number): void {
    this.epoll.modify(fd, events)
  }

  /** Forgets `fd`, which must still be open; no call follows, even for an event of the present round. */
  unwatch(fd: number): void {
    if (this.watchers.delete(fd)) this.epoll.remove(fd)
  }

  /** Runs `task` when the watchers of the present round have been called: for what must not happen inside them. */
  defer(task: () => void): void {
    this.deferred.push(task)
  }

  /** Whether `wait` has something to do at once. */
  get hasDeferred(): boolean {
    return this.deferred.length > 0
  }

  /**
   * Blocks until something is ready or `timeoutMs` has passed (-1: for ever), and calls the watchers. `onWake` is
   * called before them with how many are ready, for those who want to know that the thread is awake.
   */
  wait(timeoutMs: number, onWake?: (ready: number) => void): number {
    const ready = this.epoll.wait(this.deferred.length > 0 ? 0 : timeoutMs)
    onWake?.(ready)
    // Not by index into a list: a watcher may unwatch another descriptor of the same round.
    this.isCalling = true
    for (let i = 0; i < ready; i++) {
      const fd = this.epoll.readyFd(i)
      if (this.fresh.size === 0 || !this.fresh.has(fd)) this.watchers.get(fd)?.(this.epoll.readyEvents(i))
    }
    this.isCalling = false
    this.fresh.clear()
    this.runDeferred()
    return ready
  }

  [Symbol.dispose](): void {
    this.epoll[Symbol.dispose]()
  }

  private runDeferred(): void {
    if (this.deferred.length === 0) return
    const tasks = this.deferred
    this.deferred = []
    for (const task of tasks) task()
  }
}

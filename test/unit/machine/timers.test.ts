import { describe, expect, it, vi } from 'vitest'
import { Epoll } from '../../../src/host/epoll.ts'
import { Timers } from '../../../src/machine/timers.ts'

/** Fires what expires within `timeoutMs`, once. */
function runOnce(timers: Timers, timeoutMs: number): void {
  using epoll = new Epoll()
  epoll.add(timers.fd)
  if (epoll.wait(timeoutMs) > 0) timers.fire()
}

describe('Timers', () => {
  it('fires timers by their deadline, each once', () => {
    using timers = new Timers()
    const order: string[] = []
    timers.create().arm(30, () => order.push('late'))
    timers.create().arm(5, () => order.push('early'))
    runOnce(timers, 5000)
    expect(order).toEqual(['early'])
    runOnce(timers, 5000)
    runOnce(timers, 20)
    expect(order).toEqual(['early', 'late'])
  })

  it('does not fire a timer that was cancelled, and keeps the others', () => {
    using timers = new Timers()
    const cancelled = vi.fn()
    const kept = vi.fn()
    const timer = timers.create()
    timer.arm(5, cancelled)
    timers.create().arm(10, kept)
    timer.cancel()
    runOnce(timers, 5000)
    expect(cancelled).not.toHaveBeenCalled()
    expect(kept).toHaveBeenCalledOnce()
  })

  it('forgets the earlier deadline of a timer that is armed again', () => {
    using timers = new Timers()
    const first = vi.fn()
    const second = vi.fn()
    const timer = timers.create()
    timer.arm(1, first)
    timer.arm(10, second)
    runOnce(timers, 5000)
    expect(first).not.toHaveBeenCalled()
    expect(second).toHaveBeenCalledOnce()
  })

  it('does not fire a timer that another one cancels at the same time', () => {
    using timers = new Timers()
    const cancelled = vi.fn()
    const timer = timers.create()
    timers.create().arm(0, () => timer.cancel())
    timer.arm(0, cancelled)
    runOnce(timers, 5000)
    expect(cancelled).not.toHaveBeenCalled()
  })

  it('lets a timer arm itself again while it fires', () => {
    using timers = new Timers()
    const timer = timers.create()
    const second = vi.fn()
    timer.arm(1, () => timer.arm(1, second))
    runOnce(timers, 5000)
    runOnce(timers, 5000)
    expect(second).toHaveBeenCalledOnce()
  })
})

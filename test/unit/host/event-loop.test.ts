import { describe, expect, it } from 'vitest'
import { EPOLLHUP, EPOLLIN, EventLoop } from '../../../src/host/event-loop.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { socketPair } from '../../../src/host/socket.ts'

describe('EventLoop', () => {
  it('calls the watcher of what is ready, with its events', () => {
    using loop = new EventLoop()
    using event = EventFd.create()
    const calls: number[] = []
    loop.watch(event.fd, EPOLLIN, events => calls.push(events))
    expect(loop.wait(0)).toBe(0)
    event.signal()
    expect(loop.wait(1000)).toBe(1)
    expect(calls).toEqual([EPOLLIN])
  })

  it('calls no watcher that another one of the round has removed', () => {
    using loop = new EventLoop()
    using first = EventFd.create()
    using second = EventFd.create()
    const calls: string[] = []
    loop.watch(first.fd, EPOLLIN, () => {
      calls.push('called')
      loop.unwatch(second.fd)
    })
    loop.watch(second.fd, EPOLLIN, () => {
      calls.push('called')
      loop.unwatch(first.fd)
    })
    first.signal()
    second.signal()
    expect(loop.wait(1000)).toBe(2)
    expect(calls).toEqual(['called'])
  })

  it('keeps events of a closed descriptor from the next one of the same number', () => {
    using loop = new EventLoop()
    using event = EventFd.create()
    const [old, peer] = socketPair()
    const calls: string[] = []
    let fresh = [-1, -1]
    loop.watch(event.fd, EPOLLIN, () => {
      event.take()
      loop.unwatch(old)
      closeFd(old)
      fresh = socketPair()
      loop.watch(fresh[0]!, EPOLLIN, events => calls.push(`fresh ${events}`))
    })
    loop.watch(old, EPOLLIN, () => calls.push('old'))
    event.signal()
    closeFd(peer)
    expect(loop.wait(1000)).toBe(2)
    expect(fresh[0]).toBe(old)
    expect(calls).toEqual([])
    closeFd(fresh[1]!)
    loop.wait(1000)
    expect(calls).toEqual([`fresh ${EPOLLIN | EPOLLHUP}`])
    loop.unwatch(fresh[0]!)
    closeFd(fresh[0]!)
  })

  it('runs what is put off once, after the watchers, and does not sleep before', () => {
    using loop = new EventLoop()
    const order: string[] = []
    loop.defer(() => {
      order.push('first')
      loop.defer(() => order.push('second'))
    })
    expect(loop.hasDeferred).toBe(true)
    loop.wait(-1)
    expect(order).toEqual(['first'])
    loop.wait(-1)
    expect(order).toEqual(['first', 'second'])
    expect(loop.hasDeferred).toBe(false)
  })
})

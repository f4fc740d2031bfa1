import { describe, expect, it } from 'vitest'
import { Epoll } from '../../../src/host/epoll.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { TimerFd } from '../../../src/host/timerfd.ts'

describe('Epoll', () => {
  it('tells which descriptor is ready, and none when nothing is', () => {
    using epoll = new Epoll()
    using quiet = EventFd.create()
    using loud = EventFd.create()
    epoll.add(quiet.fd)
    epoll.add(loud.fd)
    expect(epoll.wait(0)).toBe(0)
    loud.signal()
    expect(epoll.wait(1000)).toBe(1)
    expect(epoll.readyFd(0)).toBe(loud.fd)
  })

  it('forgets a descriptor that was removed', () => {
    using epoll = new Epoll()
    using event = EventFd.create()
    epoll.add(event.fd)
    event.signal()
    epoll.remove(event.fd)
    expect(epoll.wait(0)).toBe(0)
  })

  it('names the call for a descriptor that cannot be polled', () => {
    using epoll = new Epoll()
    expect(() => epoll.add(-1)).toThrow('epoll_ctl(ADD) failed: EBADF')
  })
})

describe('TimerFd', () => {
  it('becomes readable once when its time has come', () => {
    using epoll = new Epoll()
    using timer = new TimerFd()
    epoll.add(timer.fd)
    timer.arm(5)
    expect(epoll.wait(0)).toBe(0)
    expect(epoll.wait(5000)).toBe(1)
    timer.take()
    expect(epoll.wait(20)).toBe(0)
  })

  it('does not fire after it was disarmed', () => {
    using epoll = new Epoll()
    using timer = new TimerFd()
    epoll.add(timer.fd)
    timer.arm(5)
    timer.disarm()
    expect(epoll.wait(30)).toBe(0)
  })

  it('fires for a time that has passed already', () => {
    using epoll = new Epoll()
    using timer = new TimerFd()
    epoll.add(timer.fd)
    timer.arm(-3)
    expect(epoll.wait(5000)).toBe(1)
  })
})

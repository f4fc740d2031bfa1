import { describe, expect, it } from 'vitest'
import { EventFd } from '../../../src/host/eventfd.ts'

describe('EventFd', () => {
  it('counts its signals and forgets them when they are taken', () => {
    using event = EventFd.create()
    event.signal()
    event.signal()
    event.signal()
    expect(event.take()).toBe(3)
    expect(event.take()).toBe(0)
  })

  it('is the same event in a second wrapper of the descriptor', () => {
    using event = EventFd.create()
    new EventFd(event.fd).signal()
    expect(event.take()).toBe(1)
  })

  it('names the call when the descriptor is none', () => {
    expect(() => new EventFd(-1).signal()).toThrow('write(eventfd) failed: EBADF')
    expect(() => new EventFd(-1).take()).toThrow('read(eventfd) failed: EBADF')
  })
})

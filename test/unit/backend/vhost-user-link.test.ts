import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LinkOwner, LinkSource } from '../../../src/backend/vhost-user-link.ts'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EAGAIN } from '../../../src/host/errno.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { closeFd } from '../../../src/host/fd.ts'
import { receive, socketPair } from '../../../src/host/socket.ts'

let opened: DisposableStack
let loop: EventLoop
let owner: LinkOwner
let source: LinkSource
let events: string[]
let unwanted: number
let wanted: PromiseWithResolvers<void>

const listener = {
  connected: (fd: number) => void events.push(`connected ${fd}`),
  ended: (reason: string) => void events.push(`ended: ${reason}`),
}

/** A connected socket, whose other end is closed with the test. */
function socket(): number {
  const [ours, theirs] = socketPair()
  opened.defer(() => closeFd(theirs))
  return ours
}

beforeEach(() => {
  opened = new DisposableStack()
  loop = opened.use(new EventLoop())
  wanted = Promise.withResolvers()
  unwanted = 0
  events = []
  owner = new LinkOwner(() => {
    unwanted++
    wanted.resolve()
  })
  source = new LinkSource(owner.link, loop)
})

afterEach(() => {
  owner.close()
  opened.dispose()
})

describe('the link of a vhost-user program', () => {
  it('hands over a connection that was there before the device thread', () => {
    const fd = socket()
    owner.connected(fd)
    source.open(listener)
    loop.wait(0)
    expect(events).toEqual([`connected ${fd}`])
    closeFd(fd)
  })

  it('tells of a death and of the next connection, in this order', () => {
    const [first, second] = [socket(), socket()]
    source.open(listener)
    owner.connected(first)
    loop.wait(0)
    owner.ended('it ended with status 1')
    owner.connected(second)
    loop.wait(0)
    expect(events).toEqual([`connected ${first}`, 'ended: it ended with status 1', `connected ${second}`])
    closeFd(first)
    closeFd(second)
  })

  it('drops a connection whose process is gone before anybody took it', () => {
    const [ours, theirs] = socketPair()
    opened.defer(() => closeFd(theirs))
    const byte = new CBuffer(1)
    owner.connected(ours)
    owner.ended('at once')
    expect(receive(theirs, byte.pointer, 1)).toBe(-EAGAIN)
    source.open(listener)
    expect(receive(theirs, byte.pointer, 1)).toBe(0)
    expect(events).toEqual([])
  })

  it('has the present process ended', async () => {
    const fd = socket()
    owner.connected(fd)
    source.open(listener)
    source.end()
    await wanted.promise
    expect(unwanted).toBe(1)
    closeFd(fd)
  })

  it('cuts a long reason', () => {
    const fd = socket()
    owner.connected(fd)
    source.open(listener)
    owner.ended('x'.repeat(5000))
    loop.wait(0)
    expect(events[1]).toBe(`ended: ${'x'.repeat(1004)}`)
    closeFd(fd)
  })
})

import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { Epoll } from '../../../src/host/epoll.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { Mailbox, mailboxBytes, Op, type Request, Sleep } from '../../../src/machine/mailbox.ts'
import type { MailboxProducer } from '../../support/mailbox-producer.ts'

const SLOTS = 64
const never = () => false
const always = () => true
const blank = (): Request => ({ op: 0, size: 0, address: 0, low: 0, high: 0 })

function mailboxes(count: number) {
  const shared = new SharedArrayBuffer(mailboxBytes(count))
  const sleep = (kind: number) => Atomics.store(Mailbox.sleepWord(shared), 0, kind)
  return { shared, boxes: Array.from({ length: count }, (_, i) => new Mailbox(shared, i)), sleep }
}

function post(box: Mailbox, times: number): readonly boolean[] {
  return Array.from({ length: times }, (_, i) => box.post(Op.portWrite, 0x3f8, 1, i, never))
}

function drain(box: Mailbox): readonly Request[] {
  const requests: Request[] = []
  for (const request = blank(); box.peek(request); box.complete(0, 0)) requests.push({ ...request })
  return requests
}

describe('Mailbox', () => {
  it('hands a request over whole, and its answer back', () => {
    const { boxes } = mailboxes(1)
    const [box] = boxes as [Mailbox]
    const request = blank()
    box.ask(Op.mmioWrite, 2 ** 52 + 2 ** 33 + 5, 8, 0xffff_fffe, 0x8000_0001, never)
    expect(box.pending).toBe(true)
    expect(box.peek(request)).toBe(true)
    expect(request).toEqual({
      op: Op.mmioWrite,
      size: 8,
      address: 2 ** 52 + 2 ** 33 + 5,
      low: 0xffff_fffe,
      high: 0x8000_0001,
    })
    box.complete(0xdead_beef, 0xffff_ffff)
    expect(box.await(never)).toBe(true)
    expect([box.resultLow, box.resultHigh]).toEqual([0xdead_beef, 0xffff_ffff])
    expect(box.pending).toBe(false)
    expect(box.peek(request)).toBe(false)
  })

  it('keeps the requests of several vCPUs apart', () => {
    const { boxes } = mailboxes(3)
    for (const [index, box] of boxes.entries()) box.post(Op.portWrite, index, 1, index, never)
    expect(boxes.map(box => drain(box).map(({ low }) => low))).toEqual([[0], [1], [2]])
  })

  it('serves requests in order while its counters go round', () => {
    const { boxes } = mailboxes(1)
    const [box] = boxes as [Mailbox]
    const rounds = Math.ceil(2 ** 16 / SLOTS) + 2
    const wrong = Array.from({ length: rounds }, () => {
      post(box, SLOTS)
      return drain(box).filter(({ low }, i) => low !== i).length
    })
    expect(wrong).toEqual(new Array(rounds).fill(0))
  })

  it.each([
    ['deep', Sleep.deep, [true, false, false]],
    ['light', Sleep.light, [false, false, false]],
    ['not at all', Sleep.awake, [false, false, false]],
  ])('asks for a wake-up by posted writes as a device thread sleeps: %s', (_, kind, woken) => {
    const { boxes, sleep } = mailboxes(1)
    sleep(kind)
    expect(post(boxes[0]!, 3)).toEqual(woken)
  })

  it('wakes a light sleeper once posted writes have piled up', () => {
    const { boxes, sleep } = mailboxes(1)
    sleep(Sleep.light)
    const woken = post(boxes[0]!, 20)
    expect(woken.indexOf(true)).toBe(15)
    expect(woken.filter(Boolean)).toHaveLength(1)
  })

  it.each([
    ['deep', Sleep.deep, true],
    ['light', Sleep.light, true],
    ['not at all', Sleep.awake, false],
  ])('asks for a wake-up by a question as a device thread sleeps: %s', (_, kind, woken) => {
    const { boxes, sleep } = mailboxes(2)
    sleep(kind)
    expect(boxes[0]!.ask(Op.portRead, 0x60, 1, 0, 0, never)).toBe(woken)
    // Whoever came first has claimed the wake-up.
    expect(boxes[1]!.ask(Op.portRead, 0x60, 1, 0, 0, never)).toBe(false)
  })

  it('gives up waiting for an answer when the machine is abandoned', () => {
    const { boxes } = mailboxes(1)
    boxes[0]!.ask(Op.portRead, 0x60, 1, 0, 0, never)
    expect(boxes[0]!.await(always)).toBe(false)
  })

  it('overwrites nothing when the ring is full and the machine is abandoned', () => {
    const { boxes } = mailboxes(1)
    const [box] = boxes as [Mailbox]
    post(box, SLOTS)
    expect(box.post(Op.portWrite, 0x80, 1, 99, always)).toBe(false)
    expect(drain(box).map(({ low }) => low)).toEqual(Array.from({ length: SLOTS }, (_, i) => i))
  })

  it('loses no request and no wake-up of two vCPU threads', async () => {
    const count = 20_000
    const { shared, boxes, sleep } = mailboxes(2)
    using doorbell = EventFd.create()
    using epoll = new Epoll()
    epoll.add(doorbell.fd)
    const workers = boxes.map((_, index) => {
      const workerData: MailboxProducer = { shared, index, doorbellFd: doorbell.fd, count }
      return new Worker(new URL('../../support/mailbox-producer.ts', import.meta.url), { workerData })
    })
    const results = workers.map(worker => new Promise(resolve => worker.once('message', resolve)))
    const { served, disordered, lostWakes } = serveLikeTheDeviceThread(boxes, count, sleep, epoll, doorbell)
    expect(served).toEqual([count, count])
    expect(disordered).toBe(0)
    expect(lostWakes).toBe(0)
    expect(await Promise.all(results)).toEqual([0, 0])
    await Promise.all(workers.map(worker => worker.terminate()))
  })
})

/** Serves `count` requests of each mailbox; a wake-up counts as lost when a sleep of seconds ends with work waiting. */
function serveLikeTheDeviceThread(
  boxes: readonly Mailbox[],
  count: number,
  sleep: (kind: number) => void,
  epoll: Epoll,
  doorbell: EventFd,
) {
  const served = boxes.map(() => 0)
  const request = blank()
  let disordered = 0
  let lostWakes = 0
  while (served.some(number => number < count)) {
    for (const [index, box] of boxes.entries())
      while (box.peek(request)) {
        if (request.low !== served[index]) disordered++
        served[index] = served[index]! + 1
        box.complete(request.low, 2 ** 32 - 1 - request.low)
      }
    sleep(Sleep.deep)
    const pending = () => boxes.some(box => box.pending)
    if (!pending() && served.some(number => number < count) && epoll.wait(5000) === 0 && pending()) lostWakes++
    doorbell.take()
    sleep(Sleep.awake)
  }
  return { served, disordered, lostWakes }
}

import { describe, expect, it } from 'vitest'
import { type DeviceWork, runRounds } from '../../../src/machine/rounds.ts'

/** Work that is written down, for `rounds` rounds. */
class FakeWork implements DeviceWork {
  readonly log: string[] = []
  isPolling = false
  /** Answers of `serve` and `poll`, round by round; false when there are no more. */
  requests: boolean[] = []
  polled: boolean[] = []

  constructor(private rounds: number) {}

  serve(): boolean {
    return this.requests.shift() === true
  }

  obey(): boolean {
    return this.rounds-- > 0
  }

  look(): void {
    this.log.push('look')
  }

  poll(): boolean {
    this.log.push('poll')
    return this.polled.shift() === true
  }

  doze(): void {
    this.log.push('doze')
  }

  sleep(): void {
    this.log.push('sleep')
  }
}

const always = Array<boolean>(100).fill(true)
const only = (log: readonly string[], what: string) => log.filter(word => word === what)

describe('runRounds', () => {
  it('sleeps when there is nothing to do', () => {
    const work = new FakeWork(2)
    runRounds(work)
    expect(work.log).toEqual(['poll', 'sleep', 'poll', 'sleep'])
  })

  it('dozes after a request, as another will follow', () => {
    const work = new FakeWork(2)
    work.requests = [true]
    runRounds(work)
    expect(work.log).toEqual(['doze', 'poll', 'sleep'])
  })

  it('does not doze while queues are polled, whose drivers would not wake it', () => {
    const work = new FakeWork(2)
    work.requests = [true]
    work.isPolling = true
    runRounds(work)
    expect(work.log).toEqual(['poll', 'sleep'])
  })

  it('goes on when polling found something', () => {
    const work = new FakeWork(2)
    work.polled = [true]
    runRounds(work)
    expect(work.log).toEqual(['poll', 'poll', 'sleep'])
  })

  it.each([
    { busy: 'vCPUs', requests: always, polled: [] },
    { busy: 'polled queues', requests: [], polled: always },
  ])('lets descriptors have their turn however busy $busy are', ({ requests, polled }) => {
    const work = new FakeWork(64)
    work.requests = [...requests]
    work.polled = [...polled]
    runRounds(work)
    expect(only(work.log, 'look')).toHaveLength(4)
  })

  it('ends when it is told to, before it sleeps', () => {
    const work = new FakeWork(0)
    runRounds(work)
    expect(work.log).toEqual([])
  })
})

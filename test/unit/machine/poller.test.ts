import { describe, expect, it } from 'vitest'
import { Poller } from '../../../src/machine/poller.ts'
import type { VirtQueue } from '../../../src/virtio/queue.ts'
import type { IdleQueue } from '../../../src/virtio/queue-poller.ts'

/** An idle queue whose driver the test plays. */
class FakeIdle implements IdleQueue {
  served = 0
  armed = 0
  hasNew = false
  /** Chains that come between the last look and the arming. */
  late = false
  isLive = true
  onServe: () => void = () => {}

  get queue(): VirtQueue | undefined {
    return this.isLive ? (this as unknown as VirtQueue) : undefined
  }

  armNotifications(): boolean {
    this.armed++
    return this.late
  }

  serve(): void {
    this.hasNew = false
    this.served++
    this.onServe()
  }
}

/** A poller on a clock that each look at it moves by 10 us. */
function create(options: { enabled?: boolean; interrupted?: () => boolean } = {}) {
  const clock = { ms: 0 }
  const now = () => {
    clock.ms += 0.01
    return clock.ms
  }
  const poller = new Poller(options.enabled ?? true, options.interrupted ?? (() => false), now)
  const idle = new FakeIdle()
  return { clock, poller, idle }
}

/** Lets the poller see a driver that took `ms` to come back. */
function teach({ clock, poller, idle }: ReturnType<typeof create>, ms: number): void {
  poller.watch(idle)
  clock.ms += ms
  poller.woken()
}

const never = () => false

describe('Poller', () => {
  it('arms notifications at once until it knows the driver', () => {
    const { poller, idle } = create()
    expect([poller.watch(idle), poller.poll(never)]).toEqual([false, false])
  })

  it('looks at the queue of a driver that was quick, and serves it', () => {
    const fixture = create()
    teach(fixture, 0.05)
    const watched = fixture.poller.watch(fixture.idle)
    fixture.idle.hasNew = true
    expect([watched, fixture.poller.poll(never), fixture.idle.served, fixture.idle.armed]).toEqual([true, true, 1, 0])
  })

  it('arms the notifications when nothing comes, and stops polling', () => {
    const fixture = create()
    teach(fixture, 0.05)
    fixture.poller.watch(fixture.idle)
    expect([fixture.poller.poll(never), fixture.idle.armed, fixture.poller.watch(fixture.idle)]).toEqual([
      false,
      1,
      false,
    ])
  })

  it('serves what came just before the notifications were armed', () => {
    const fixture = create()
    teach(fixture, 0.05)
    fixture.poller.watch(fixture.idle)
    fixture.idle.late = true
    expect([fixture.poller.poll(never), fixture.idle.served]).toEqual([true, 1])
  })

  it('does not poll for a driver that takes long', () => {
    const fixture = create()
    teach(fixture, 0.05)
    teach(fixture, 1)
    expect(fixture.poller.watch(fixture.idle)).toBe(false)
  })

  it('looks longer when a driver took longer, measured up to its request and not up to the answer', () => {
    const fixture = create()
    const { clock, poller, idle } = fixture
    teach(fixture, 0.03)
    idle.onServe = () => poller.watch(idle)
    poller.watch(idle)
    clock.ms += 0.07
    idle.hasNew = true
    poller.poll(never)
    // Comes at the third look at the descriptors, which are 50 us apart.
    let looks = 0
    const slow = () => {
      clock.ms += 0.05
      looks++
      idle.hasNew = looks === 2
      return false
    }
    expect([poller.poll(slow), idle.served, idle.armed]).toEqual([true, 2, 0])
  })

  it('leaves a queue alone that was reset meanwhile', () => {
    const fixture = create()
    teach(fixture, 0.05)
    fixture.poller.watch(fixture.idle)
    fixture.idle.isLive = false
    fixture.idle.hasNew = true
    expect([fixture.poller.poll(never), fixture.idle.served, fixture.idle.armed]).toEqual([false, 0, 0])
  })

  it('goes on with other work that waits, and looks again afterwards', () => {
    let waiting = true
    const fixture = create({ interrupted: () => waiting })
    teach(fixture, 0.05)
    fixture.poller.watch(fixture.idle)
    const first = fixture.poller.poll(never)
    waiting = false
    fixture.idle.hasNew = true
    expect([first, fixture.idle.armed, fixture.poller.poll(never), fixture.idle.served]).toEqual([true, 0, true, 1])
  })

  it('stops looking when descriptors had something', () => {
    const fixture = create()
    teach(fixture, 0.05)
    fixture.poller.watch(fixture.idle)
    expect([fixture.poller.poll(() => true), fixture.idle.armed]).toEqual([true, 0])
  })

  it('never polls without a processor to spare', () => {
    const fixture = create({ enabled: false })
    teach(fixture, 0.05)
    expect(fixture.poller.watch(fixture.idle)).toBe(false)
  })

  it('looks at a queue once however often it ran empty', () => {
    const fixture = create()
    teach(fixture, 0.05)
    fixture.poller.watch(fixture.idle)
    fixture.poller.watch(fixture.idle)
    fixture.poller.poll(never)
    expect(fixture.idle.armed).toBe(1)
  })
})

/**
 * A virtqueue between a driver that keeps the rules and a device whose queue is polled now and then, in a random order
 * of steps: whatever the order, the device must come to know of every chain. The device needs several chains at a time,
 * and gives back what it found when those are too few.
 */
import { type DmaSpace, IdentitySpace } from '../../src/memory/dma-space.ts'
import { Chain } from '../../src/virtio/queue.ts'
import { Random } from './random.ts'
import { VirtioDriver, type VirtioDriverOptions } from './virtio-driver.ts'
import { VirtioMemory } from './virtio-memory.ts'

export interface PollingOptions extends VirtioDriverOptions {
  /** Chains that the device needs at a time. */
  readonly needed: number
}

/** What became of a run. */
export interface PollingResult {
  /** Chains that the device should have used and did not. */
  readonly lost: number
  readonly used: number
  readonly notifications: number
  /** Chains that were found by polling. */
  readonly polled: number
  readonly broken: readonly string[]
}

/** Takes `steps` random steps, and then waits for the device to come to rest. */
export function runPollingModel(seed: number, steps: number, options: PollingOptions): PollingResult {
  const model = new PollingModel(seed, options)
  for (let i = 0; i < steps; i++) model.step()
  return model.rest()
}

class PollingModel {
  private readonly random: Random
  private readonly driver: VirtioDriver
  private readonly chains: readonly Chain[]
  /** The doorbell has rung. */
  private rang = false
  private isWatched = false
  private isStepping = false
  private added = 0
  private used = 0
  private polled = 0

  constructor(
    seed: number,
    private readonly options: PollingOptions,
  ) {
    this.random = new Random(seed)
    const memory = new VirtioMemory()
    const identity = new IdentitySpace(memory.memory)
    // A queue asks for the version at the start of all that it does: the driver may do something just then.
    const space: DmaSpace = Object.defineProperty(identity, 'version', {
      get: () => {
        this.interfere()
        return 0
      },
    })
    this.driver = new VirtioDriver({
      ...options,
      memory,
      space,
      isPolled: () => {
        this.isWatched ||= this.random.below(3) > 0
        return this.isWatched
      },
      onKick: () => {
        this.rang = true
      },
    })
    this.chains = Array.from({ length: options.needed }, () => new Chain(space))
  }

  step(): void {
    const steps = [() => this.add(), () => this.add(), () => this.notify(), () => this.look(), () => this.giveUp()]
    steps[this.random.below(steps.length)]?.()
  }

  rest(): PollingResult {
    this.notify()
    this.look()
    this.giveUp()
    this.notify()
    const waiting = this.added - this.used
    return {
      lost: waiting - (waiting % this.options.needed),
      used: this.used,
      notifications: this.driver.kicks,
      polled: this.polled,
      broken: this.driver.broken,
    }
  }

  /** The driver runs at the same time as the device. */
  private interfere(): void {
    if (this.isStepping || this.random.below(8) > 0) return
    this.add()
  }

  private add(): void {
    this.isStepping = true
    this.driver.pollAll()
    if (this.driver.ring.free > 0) {
      this.driver.add({ in: [8] })
      this.added++
      this.driver.kick()
    }
    this.isStepping = false
  }

  private notify(): void {
    if (!this.rang) return
    this.rang = false
    this.serve()
  }

  private look(): void {
    if (!this.isWatched || !this.driver.queue.hasNew) return
    this.isWatched = false
    const { used } = this
    this.serve()
    this.polled += this.used - used
  }

  private giveUp(): void {
    if (!this.isWatched) return
    this.isWatched = false
    if (this.driver.queue.armNotifications()) this.serve()
  }

  private serve(): void {
    const { queue } = this.driver
    queue.suppressNotifications()
    do while (this.use());
    while (queue.requestNotifications())
  }

  /** Uses as many chains as the device needs; false, and they are given back, when there are fewer. */
  private use(): boolean {
    const { queue } = this.driver
    const { chains } = this
    let count = 0
    while (count < chains.length && queue.pop(chains[count] as Chain)) count++
    if (count < chains.length) {
      queue.rewind(count)
      return false
    }
    for (const chain of chains) queue.push(chain, 0)
    queue.flush()
    this.used += count
    return true
  }
}

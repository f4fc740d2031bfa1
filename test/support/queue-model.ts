/**
 * Both ends of a virtqueue in a random order of steps, against a model that is a few lists: what the driver adds must be
 * popped in order and with its bytes, and what the device pushes must be polled in the order of the pushes.
 */
import { Chain } from '../../src/virtio/queue.ts'
import { Random } from './random.ts'
import { VirtioDriver, type VirtioDriverOptions } from './virtio-driver.ts'
import type { Place } from './virtio-memory.ts'

interface Waiting {
  readonly token: number
  readonly bytes: Uint8Array
}

interface Held extends Waiting {
  readonly chain: Chain
}

interface Answered extends Waiting {
  readonly written: number
}

const PLACES: readonly Place[] = ['low', 'high']

/** Takes `steps` random steps and then ends all that is under way; a line for the first difference from the model. */
export function runQueueModel(seed: number, steps: number, options: VirtioDriverOptions): readonly string[] {
  const model = new QueueModel(seed, options)
  for (let i = 0; i < steps && model.differences.length === 0; i++) model.step()
  model.finish()
  return [...model.differences, ...model.driver.broken]
}

class QueueModel {
  readonly driver: VirtioDriver
  readonly differences: string[] = []
  private readonly random: Random
  /** Added and not popped; popped and not pushed; pushed and not polled: each in order. */
  private waiting: Waiting[] = []
  private held: Held[] = []
  private answered: Answered[] = []
  /** The first of `held` that may be given back: none before it was popped later than one that was pushed. */
  private free = 0
  /** How many of `answered` the driver must see. */
  private visible = 0
  private readonly actions: readonly (() => void)[]

  constructor(
    seed: number,
    private readonly options: VirtioDriverOptions,
  ) {
    this.random = new Random(seed)
    this.driver = new VirtioDriver(options)
    const add = () => this.add()
    const pop = () => this.pop()
    const push = () => this.push()
    const rewind = () => this.rewind()
    this.actions = [add, add, add, pop, pop, push, push, rewind, () => this.flush(), () => this.poll()]
  }

  step(): void {
    this.actions[this.random.below(this.actions.length)]?.()
  }

  finish(): void {
    while (this.waiting.length > 0 && this.differences.length === 0) this.pop()
    while (this.held.length > 0 && this.differences.length === 0) this.push()
    this.flush()
    this.poll()
  }

  private add(): void {
    const count = 1 + this.random.below(3)
    if (this.driver.ring.free < count + 1) return
    const bytes = this.random.bytes(1 + this.random.below(40))
    const token = this.driver.add({
      out: [bytes],
      in: Array.from({ length: count }, () => this.random.below(30)),
      indirect: this.options.indirect === true && this.random.below(2) === 0,
      place: PLACES[this.random.below(PLACES.length)] ?? 'low',
    })
    this.waiting.push({ token, bytes })
  }

  private pop(): void {
    const chain = new Chain(this.driver.space)
    const popped = this.driver.queue.pop(chain)
    const expected = this.waiting.shift()
    this.check(popped === (expected !== undefined), `pop says ${popped}`)
    if (!popped || expected === undefined) return
    const bytes = new Uint8Array(chain.readable.size)
    chain.readable.read(0, bytes)
    this.check(Bun.deepEquals(bytes, expected.bytes), `chain ${expected.token} has other bytes`)
    this.held.push({ chain, ...expected })
  }

  private push(): void {
    const index = this.random.below(Math.max(this.held.length, 1))
    const [taken] = this.held.splice(index, 1)
    if (taken === undefined) return
    const { chain, token, bytes } = taken
    const written = chain.writable.write(0, bytes)
    this.driver.queue.push(chain, written)
    this.answered.push({ token, written, bytes: bytes.subarray(0, written) })
    this.free = Math.max(this.free - (index < this.free ? 1 : 0), index)
  }

  private rewind(): void {
    const count = this.random.below(this.held.length - this.free + 1)
    const given = this.held.splice(this.held.length - count, count)
    this.driver.queue.rewind(count)
    this.waiting = [...given, ...this.waiting]
  }

  private flush(): void {
    this.driver.queue.flush()
    this.visible = this.answered.length
  }

  private poll(): void {
    for (const { token, written, in: inputs } of this.driver.pollAll()) {
      const expected = this.answered.shift()
      this.visible--
      this.check(token === expected?.token && written === expected.written, `token ${token}, ${written} bytes written`)
      const bytes = new Uint8Array(Buffer.concat(inputs)).subarray(0, written)
      this.check(Bun.deepEquals(bytes, expected?.bytes), `the driver got other bytes for ${token}`)
    }
    this.check(this.visible === 0, `the driver misses ${this.visible} used chains`)
  }

  private check(condition: boolean, difference: string): void {
    if (!condition) this.differences.push(difference)
  }
}

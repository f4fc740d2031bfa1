/** What devices are tested in: a recording interrupt line, a hand-driven clock and timer, and a fuzzing guest. */
import { Bus, type BusHandler } from '../../../src/bus/bus.ts'
import type { InterruptLine } from '../../../src/bus/interrupt-line.ts'
import type { RegisterMirror } from '../../../src/bus/mirror.ts'
import type { Timer } from '../../../src/devices/timer.ts'

/** Keeps the level, counts rising edges, and counts calls that did not change anything. */
export class RecordingLine implements InterruptLine {
  level = false
  edges = 0
  redundant = 0

  set(level: boolean): void {
    if (level === this.level) this.redundant++
    else if (level) this.edges++
    this.level = level
  }
}

/** A mirror as a vCPU thread would see it: undefined where it has to ask. */
export class RecordingMirror implements RegisterMirror {
  readonly values: (number | undefined)[] = []

  publish(offset: number, value: number): void {
    this.values[offset] = value
  }

  withdraw(offset: number): void {
    this.values[offset] = undefined
  }
}

/** Host time that passes only when told to, with a timer on it. */
export class TestClock implements Timer {
  private deadlineMs = Number.POSITIVE_INFINITY
  private expired = () => {}

  constructor(public nowMs: number) {}

  readonly now = () => this.nowMs

  get isArmed(): boolean {
    return this.deadlineMs !== Number.POSITIVE_INFINITY
  }

  arm(delayMs: number, expired: () => void): void {
    this.deadlineMs = this.nowMs + delayMs
    this.expired = expired
  }

  cancel(): void {
    this.deadlineMs = Number.POSITIVE_INFINITY
  }

  /** Lets time pass, firing the timer at its deadlines on the way. */
  advance(ms: number): void {
    const end = this.nowMs + ms
    while (this.deadlineMs <= end) {
      this.nowMs = Math.max(this.nowMs, this.deadlineMs)
      this.deadlineMs = Number.POSITIVE_INFINITY
      this.expired()
    }
    this.nowMs = end
  }
}

/** A repeatable source of 32-bit numbers (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}

/**
 * A guest that makes `rounds` random accesses, aligned or not, to a device and its neighbourhood. `between` runs after
 * each one with a random number. Answers how many reads came back too wide for their size.
 */
export function fuzz(handler: BusHandler, size: number, rounds: number, between: (random: number) => void): number {
  const random = seededRandom(rounds + size)
  const bus = new Bus('fuzz')
  bus.add({ name: 'device', start: 0x10, size }, handler)
  let tooWide = 0
  for (let i = 0; i < rounds; i++) {
    const choice = random()
    const width = [1, 2, 4, 1][choice & 3]!
    const address = 0x10 - 2 + ((choice >>> 8) % (size + 3))
    if ((choice & 4) !== 0) bus.write(address, width, random())
    else {
      const value = bus.read(address, width)
      if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * width)) tooWide++
    }
    between(random())
  }
  return tooWide
}

/**
 * Counts over time in a bounded number of steps: when the time goes beyond the last one, two steps become one. Each
 * step also has the highest value of a gauge, which keeps its value until it is set again.
 */

/** Steps at most; at least half of them are in use once there were so many. */
const STEPS = 256
const FIRST_STEP_MS = 0.125

/** One step: how often each thing happened, and the gauge's peak. */
export interface Step {
  readonly counts: readonly number[]
  readonly peak: number
}

/** The gauge's values within a step; undefined: it was not set. */
interface Gauge {
  readonly peak: number
  readonly last: number
}

/** See above. */
export class Timeline {
  /** Length of a step. */
  stepMs = FIRST_STEP_MS
  private counts: Float64Array
  private gauges: (Gauge | undefined)[] = []
  private used = 0

  /** Counts `kinds` things. */
  constructor(private readonly kinds: number) {
    this.counts = new Float64Array(STEPS * kinds)
  }

  /** Thing `kind` happened. */
  add(atMs: number, kind: number): void {
    const at = this.step(atMs) * this.kinds + kind
    this.counts[at] = (this.counts[at] ?? 0) + 1
  }

  /** The gauge shows `value` from now on. */
  gauge(atMs: number, value: number): void {
    const step = this.step(atMs)
    this.gauges[step] = joined(this.gauges[step], { peak: value, last: value })
  }

  steps(): readonly Step[] {
    let last = 0
    return Array.from({ length: this.used }, (_, step) => {
      const gauge = this.gauges[step]
      const peak = Math.max(last, gauge?.peak ?? 0)
      last = gauge?.last ?? last
      return { counts: [...this.counts.subarray(step * this.kinds, (step + 1) * this.kinds)], peak }
    })
  }

  private step(atMs: number): number {
    let step = Math.max(0, Math.floor(atMs / this.stepMs))
    while (step >= STEPS) {
      this.halve()
      step = Math.floor(atMs / this.stepMs)
    }
    if (step >= this.used) this.used = step + 1
    return step
  }

  private halve(): void {
    const counts = new Float64Array(this.counts.length)
    for (let step = 0; step < STEPS; step++)
      for (let kind = 0; kind < this.kinds; kind++) {
        const at = (step >> 1) * this.kinds + kind
        counts[at] = (counts[at] ?? 0) + (this.counts[step * this.kinds + kind] ?? 0)
      }
    this.counts = counts
    const { gauges } = this
    this.gauges = Array.from({ length: STEPS / 2 }, (_, step) => joined(gauges[2 * step], gauges[2 * step + 1]))
    this.stepMs *= 2
    this.used = Math.ceil(this.used / 2)
  }
}

/** Two gauges, one after the other. */
function joined(first: Gauge | undefined, second: Gauge | undefined): Gauge | undefined {
  if (first === undefined || second === undefined) return first ?? second
  return { peak: Math.max(first.peak, second.peak), last: second.last }
}

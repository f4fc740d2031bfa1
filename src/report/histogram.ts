/** Counts of values on a logarithmic scale: percentiles of any number of values in a few hundred words. */

/** Buckets for each doubling: a percentile is right to 4.5 %. */
const PER_OCTAVE = 16
/** The first bucket is for all below 2^-5. */
const LOWEST_OCTAVE = -5
const OCTAVES = 60

/** One bar of a picture: values from `low` up to and without `high`. */
export interface Bar {
  readonly low: number
  readonly high: number
  readonly count: number
}

/** What is left of a histogram in a report. */
export interface Summary {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
  /** By doublings, from the first that has values to the last. */
  readonly bars: readonly Bar[]
}

/** See above. */
export class Histogram {
  private readonly counts = new Float64Array(OCTAVES * PER_OCTAVE + 1)
  private count = 0
  private sum = 0
  private max = 0

  add(value: number): void {
    this.count++
    this.sum += value
    if (value > this.max) this.max = value
    const octaves = Math.log2(value) - LOWEST_OCTAVE
    const bucket = octaves > 0 ? Math.min(this.counts.length - 1, 1 + Math.floor(octaves * PER_OCTAVE)) : 0
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1
  }

  summary(): Summary {
    const { count, sum, max } = this
    return {
      count,
      mean: count === 0 ? 0 : sum / count,
      p50: this.percentile(0.5),
      p90: this.percentile(0.9),
      p99: this.percentile(0.99),
      max,
      bars: this.bars(),
    }
  }

  /** A value that `share` of all values do not exceed, but for the width of a bucket. */
  private percentile(share: number): number {
    let rest = Math.ceil(this.count * share)
    if (rest === 0) return 0
    for (const [bucket, count] of this.counts.entries()) {
      rest -= count
      if (rest <= 0) return Math.min(this.max, edge(bucket))
    }
    return this.max
  }

  private bars(): readonly Bar[] {
    const bars: Bar[] = []
    for (let octave = -1; octave < OCTAVES; octave++) {
      const first = octave < 0 ? 0 : 1 + octave * PER_OCTAVE
      const last = octave < 0 ? 0 : first + PER_OCTAVE - 1
      let count = 0
      for (let bucket = first; bucket <= last; bucket++) count += this.counts[bucket] ?? 0
      const low = octave < 0 ? 0 : 2 ** (octave + LOWEST_OCTAVE)
      bars.push({ low, high: 2 ** (octave + 1 + LOWEST_OCTAVE), count })
    }
    const from = bars.findIndex(bar => bar.count > 0)
    return from < 0 ? [] : bars.slice(from, bars.findLastIndex(bar => bar.count > 0) + 1)
  }
}

/** Where a bucket ends. */
function edge(bucket: number): number {
  return 2 ** (bucket / PER_OCTAVE + LOWEST_OCTAVE)
}

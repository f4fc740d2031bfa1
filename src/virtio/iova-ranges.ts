/** Ranges of I/O virtual addresses: where the buffers of a chain are, as the driver wrote it. */

const INITIAL_CAPACITY = 4

/** In the order of the descriptors; reused from chain to chain. */
export class IovaRanges {
  private count = 0
  /** First and last address of each range in turn. */
  private bounds = new Float64Array(2 * INITIAL_CAPACITY)
  /** First and last address of all. */
  private low = Number.POSITIVE_INFINITY
  private high = -1

  clear(): void {
    this.count = 0
    this.low = Number.POSITIVE_INFINITY
    this.high = -1
  }

  /** Adds `length` bytes, at least one, from `start` on. */
  add(start: number, length: number): void {
    const at = 2 * this.count
    const end = start + length - 1
    if (at === this.bounds.length) this.grow()
    this.bounds[at] = start
    this.bounds[at + 1] = end
    this.count++
    if (start < this.low) this.low = start
    if (end > this.high) this.high = end
  }

  /** Whether one of them has an address in [start, end]. */
  overlap(start: number, end: number): boolean {
    // Asked of many chains for each range that is unmapped, and mostly in vain.
    if (this.low > end || this.high < start) return false
    const { bounds } = this
    for (let at = 2 * this.count - 2; at >= 0; at -= 2)
      if ((bounds[at] as number) <= end && (bounds[at + 1] as number) >= start) return true
    return false
  }

  private grow(): void {
    const bounds = new Float64Array(2 * this.bounds.length)
    bounds.set(this.bounds)
    this.bounds = bounds
  }
}

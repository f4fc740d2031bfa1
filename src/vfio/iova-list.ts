/** Ranges of I/O virtual addresses that do not overlap, by their start. */

/** What has a place in the list. */
export interface Sized {
  readonly size: number
}

/** See above. A request names one range nearly always, and that costs one look-up. */
export class IovaList<T extends Sized> {
  private readonly ranges = new Map<number, T>()

  /** Everything starts and ends at a multiple of `page`. */
  constructor(private readonly page: number) {}

  get count(): number {
    return this.ranges.size
  }

  set(start: number, range: T): void {
    this.ranges.set(start, range)
  }

  delete(start: number): void {
    this.ranges.delete(start)
  }

  clear(): void {
    this.ranges.clear()
  }

  /** In no order. */
  entries(): Iterable<readonly [number, T]> {
    return this.ranges
  }

  /** Those within [start, end), in no order; none reaches out of it. */
  within(start: number, end: number): readonly (readonly [number, T])[] {
    const exact = this.ranges.get(start)
    if (exact !== undefined && start + exact.size === end) return [[start, exact]]
    // Whichever is shorter: a walk over the range, or one over the list.
    return (end - start) / this.page < this.ranges.size ? this.walk(start, end) : this.filter(start, end)
  }

  private walk(start: number, end: number): readonly (readonly [number, T])[] {
    const found: (readonly [number, T])[] = []
    for (let at = start; at < end; ) {
      const range = this.ranges.get(at)
      if (range !== undefined) found.push([at, range])
      at += range?.size ?? this.page
    }
    return found
  }

  private filter(start: number, end: number): readonly (readonly [number, T])[] {
    return [...this.ranges].filter(([at, { size }]) => at >= start && at + size <= end)
  }
}

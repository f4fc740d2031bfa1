/** Marks of an axis at round values. */

/** About `count` round values from `low` to `high`, both included where they are round. */
export function ticks(low: number, high: number, count: number): readonly number[] {
  if (!(high > low)) return [low]
  // A little less, as 0.4 - 0.1 is a little more than 0.3.
  const rough = ((high - low) / count) * (1 - 1e-9)
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5].find(factor => factor * power >= rough) ?? 10) * power
  const first = Math.ceil(low / step)
  const last = Math.floor(high / step)
  // The product may be off by the last digit: 3 * 0.1.
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)))
}

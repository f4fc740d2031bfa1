/** Numbers for people: medians, units, aligned tables. */

/** The middle of `values`, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** How far the middle half of `values` spreads, as a share of the median. */
export function spread(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const quarter = sorted[Math.floor(sorted.length / 4)] ?? Number.NaN
  const threeQuarters = sorted[Math.floor((sorted.length * 3) / 4)] ?? Number.NaN
  return (threeQuarters - quarter) / median(values)
}

/** The median of `values[i] / baseline[i]`: both were measured in round `i`, so slow drift cancels. */
export function medianRatio(values: readonly number[], baseline: readonly number[]): number {
  return median(values.map((value, i) => value / (baseline[i] ?? Number.NaN)))
}

/** Prints a heading and rows, the first column left-aligned, the others right-aligned. */
export function printTable(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map(line => (line[column] ?? '').length)))
  console.log(`\n${title}`)
  for (const line of lines) {
    const cells = widths.map((width, column) => {
      const cell = line[column] ?? ''
      return column === 0 ? cell.padEnd(width) : cell.padStart(width)
    })
    console.log(`  ${cells.join('  ').trimEnd()}`)
  }
}

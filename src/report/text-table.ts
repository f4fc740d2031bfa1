/** Aligned columns for a terminal. */

/** Lines of columns, two blanks apart; titles that begin with "#" are of figures, which stand to the right. */
export function textTable(titles: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const lines = [titles.map(title => title.replace('#', '')), ...rows]
  const widths = titles.map((_, column) => Math.max(...lines.map(line => (line[column] ?? '').length)))
  return lines.map(line =>
    line
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return titles[column]?.startsWith('#') === true ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd(),
  )
}

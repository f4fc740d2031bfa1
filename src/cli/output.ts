/** Output for people: aligned and short. */

/** Lines of columns, numbers to the right, each line ended. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map(line => String(line[column] ?? '').length)))
  const cell = (value: string | number | undefined, column: number) => {
    const text = String(value ?? '')
    const width = widths[column] ?? 0
    const numeric = rows.length > 0 && rows.every(row => typeof row[column] === 'number')
    return numeric ? text.padStart(width) : text.padEnd(width)
  }
  return lines.map(line => `${line.map(cell).join('  ').trimEnd()}\n`).join('')
}

/** A time span in its two largest units. */
export function duration(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toFixed(1)}s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes}m${Math.floor(seconds % 60)}s`
  return `${Math.floor(minutes / 60)}h${minutes % 60}m`
}

/** Bytes as 16 a line, with their address and their ASCII characters. */
export function hexDump(bytes: Uint8Array, address: bigint): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16)
    const hex = Array.from(line, byte => byte.toString(16).padStart(2, '0')).join(' ')
    const ascii = Array.from(line, byte => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('')
    text += `${(address + BigInt(at)).toString(16).padStart(16, '0')}  ${hex.padEnd(47)}  ${ascii}\n`
  }
  return text
}

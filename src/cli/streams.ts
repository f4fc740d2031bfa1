/** Standard streams with back pressure, and a memory of what went by. */

/**
 * Writes to `stream`; the promise resolves when the bytes are out, so that an exit right after loses nothing. `onClosed`
 * is told when nobody reads.
 */
export function streamWriter(stream: NodeJS.WriteStream, onClosed: () => void): (bytes: Uint8Array) => Promise<void> {
  let closed = false
  stream.on('error', () => {
    if (!closed) onClosed()
    closed = true
  })
  return bytes =>
    new Promise(resolve => {
      if (closed) resolve()
      else stream.write(bytes, () => resolve())
    })
}

/** The last part of an output, for messages about a guest that failed. */
export class Tail {
  private parts: Uint8Array[] = []
  private size = 0

  constructor(private readonly limit = 1 << 16) {}

  push(bytes: Uint8Array): void {
    this.parts.push(bytes)
    this.size += bytes.length
    while (this.size - (this.parts[0]?.length ?? 0) >= this.limit) this.size -= this.parts.shift()?.length ?? 0
  }

  get text(): string {
    return new TextDecoder().decode(Buffer.concat(this.parts))
  }

  /** The last `count` lines that are not empty; if one further back matches `start`, `count` lines from there on. */
  lines(count: number, start: RegExp): readonly string[] {
    const lines = this.text.split(/\r?\n/).filter(line => line.trim() !== '')
    const found = lines.findIndex(line => start.test(line))
    const last = Math.max(0, lines.length - count)
    const from = found < 0 ? last : Math.min(found, last)
    return lines.slice(from, from + count)
  }
}

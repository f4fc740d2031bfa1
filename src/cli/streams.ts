/** Standard streams with back pressure, and a memory of what went by. */

/** Writes to `stream`; the promise, if any, resolves when it has room again. `onClosed` is told when nobody reads. */
export function streamWriter(
  stream: NodeJS.WriteStream,
  onClosed: () => void,
): (bytes: Uint8Array) => void | Promise<void> {
  let closed = false
  stream.on('error', () => {
    if (!closed) onClosed()
    closed = true
  })
  return bytes => {
    if (closed || stream.write(bytes)) return
    return new Promise(resolve => {
      stream.once('drain', resolve)
      stream.once('error', () => resolve())
    })
  }
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

  /** The last `count` lines that are not empty. */
  lines(count: number): readonly string[] {
    return this.text
      .split(/\r?\n/)
      .filter(line => line.trim() !== '')
      .slice(-count)
  }
}

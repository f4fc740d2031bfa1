/**
 * Cuts a byte stream at a marker. A virtio port has no end of file towards the host, so L1 ends each output stream
 * with a marker that the job chose at random; everything before it is output, byte for byte.
 */

/** Feed chunks in order; `found` tells that the marker has been seen, after which nothing more comes out. */
export class EndMarker {
  #held: Uint8Array = new Uint8Array(0)
  #found = false

  constructor(private readonly marker: Uint8Array) {}

  get found(): boolean {
    return this.#found
  }

  /** The output that `chunk` settles. What may be the start of the marker is held back until the next chunk. */
  push(chunk: Uint8Array): Uint8Array {
    if (this.#found) return new Uint8Array(0)
    const bytes = Buffer.concat([this.#held, chunk])
    const at = bytes.indexOf(this.marker)
    this.#found = at !== -1
    const keep = this.#found ? at : bytes.length - this.#overlap(bytes)
    this.#held = bytes.subarray(keep)
    return bytes.subarray(0, keep)
  }

  /** What is held back, when the stream ended without a marker. */
  rest(): Uint8Array {
    return this.#found ? new Uint8Array(0) : this.#held
  }

  /** Length of the longest end of `bytes` that is a start of the marker. */
  #overlap(bytes: Buffer): number {
    const longest = Math.min(bytes.length, this.marker.length - 1)
    for (let length = longest; length > 0; length--)
      if (bytes.subarray(bytes.length - length).equals(this.marker.subarray(0, length))) return length
    return 0
  }
}

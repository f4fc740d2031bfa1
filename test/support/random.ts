/** Random numbers that are the same for the same seed (xorshift32). */

export class Random {
  private state: number

  constructor(seed: number) {
    this.state = (seed ^ 0x9e37_79b9) >>> 0 || 1
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x >>> 0
    return this.state % limit
  }

  /** `count` bytes. */
  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256))
  }
}

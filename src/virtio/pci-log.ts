/** What a device says about its driver's oddities: every line once, and not for ever. */

/** Different lines before the log falls silent: the driver chooses the numbers in them. */
const LINE_LIMIT = 32

/** Drops lines that were there before, also across resets, as a driver may reset in a loop. */
export class OnceLog {
  private readonly seen = new Set<string>()

  constructor(
    private readonly name: string,
    private readonly debug: (message: string) => void,
  ) {}

  line(message: string): void {
    if (this.seen.size >= LINE_LIMIT || this.seen.has(message)) return
    this.seen.add(message)
    this.debug(`${this.name}: ${message}`)
  }
}

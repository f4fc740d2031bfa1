/** A timer that expires when the test says so. */
export class ManualAlarm {
  /** What it was armed for last; undefined when it is not armed. */
  delayMs: number | undefined
  private expired: (() => void) | undefined

  arm(delayMs: number, expired: () => void): void {
    this.delayMs = delayMs
    this.expired = expired
  }

  cancel(): void {
    this.delayMs = undefined
    this.expired = undefined
  }

  /** Time passes; nothing happens when it is not armed. */
  fire(): void {
    const { expired } = this
    this.cancel()
    expired?.()
  }
}

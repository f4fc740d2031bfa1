/**
 * The main thread's end of the IOMMU's trace: passes lines to whoever takes them, and keeps the last ones for clients
 * that ask now and then. Nothing is traced, and nothing is kept, while nobody is interested.
 */

/** Takes whole lines, each ended. */
export type TraceSink = (lines: string) => void

/** What a client gets. */
export interface TraceLines {
  readonly lines: readonly string[]
  /** The cursor for its next request. */
  readonly next: number
  /** Lines that it came too late for. */
  readonly lost: number
}

/** Lines that are kept. */
const KEPT_LINES = 65_536
/** Lines of one answer, so that it passes every channel in one piece. */
const MAX_LINES = 1024
/** How long an answer waits for lines. */
const WAIT_MS = 1000
/** Without a request for so long, the client is gone. */
const GONE_MS = 5000

/**
 * See above.
 *
 * @example
 * const trace = new IommuTrace(on => void machine.deviceCommand('iommuTrace', { on }))
 * const stop = trace.add(lines => process.stdout.write(lines))
 */
export class IommuTrace {
  private readonly sinks = new Set<TraceSink>()
  /** The last lines; line `n` is at `n % KEPT_LINES`. */
  private readonly kept: string[] = []
  /** Lines ever kept, and the first of them that is still there. */
  private count = 0
  private oldest = 0
  private readonly waiting = new Set<() => void>()
  private clientTimer: ReturnType<typeof setTimeout> | undefined
  private stopKeeping: (() => void) | undefined
  private isEnded = false

  /** `setOn` switches tracing, and is called on changes only. */
  constructor(private readonly setOn: (on: boolean) => void) {}

  /** Whether somebody takes lines. */
  get isOn(): boolean {
    return this.sinks.size > 0
  }

  /** Passes all further lines to `sink`, until the result is called. */
  add(sink: TraceSink): () => void {
    this.sinks.add(sink)
    if (this.sinks.size === 1) this.setOn(true)
    return () => {
      if (this.sinks.delete(sink) && this.sinks.size === 0) this.setOn(false)
    }
  }

  /** Takes lines from the device thread. */
  push(lines: string): void {
    for (const sink of this.sinks) deliver(sink, lines)
    for (const wake of this.waiting) wake()
  }

  /**
   * Lines from `cursor` on; without one, those to come. Waits a while when there are none yet, and switches tracing on
   * for as long as somebody polls.
   */
  async poll(cursor?: number): Promise<TraceLines> {
    clearTimeout(this.clientTimer)
    this.stopKeeping ??= this.add(lines => this.keep(lines))
    const from = cursor === undefined ? this.count : Math.min(cursor, this.count)
    if (from === this.count && !this.isEnded) await this.more()
    clearTimeout(this.clientTimer)
    if (!this.isEnded) this.clientTimer = setTimeout(() => this.forget(), GONE_MS)
    const first = Math.max(from, this.oldest)
    const next = Math.min(this.count, first + MAX_LINES)
    const lines = Array.from({ length: next - first }, (_, index) => this.kept[(first + index) % KEPT_LINES] ?? '')
    return { lines, next, lost: first - from }
  }

  /** The guest has ended: answers whoever waits. */
  end(): void {
    this.isEnded = true
    clearTimeout(this.clientTimer)
    for (const wake of this.waiting) wake()
  }

  private keep(lines: string): void {
    for (const line of lines.split('\n')) {
      if (line === '') continue
      this.kept[this.count % KEPT_LINES] = line
      this.count++
    }
    this.oldest = Math.max(this.oldest, this.count - KEPT_LINES)
  }

  /** Waits for the next lines, the end, or a while. */
  private more(): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        clearTimeout(timer)
        this.waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, WAIT_MS)
      this.waiting.add(wake)
    })
  }

  /** Nobody polls any more. Cursors stay good: they count on. */
  private forget(): void {
    this.stopKeeping?.()
    this.stopKeeping = undefined
    this.kept.length = 0
    // A cursor of before is told that there were lines, if not how many.
    this.count++
    this.oldest = this.count
  }
}

/** One who throws is heard, but keeps nothing from the others. */
export function deliver<T>(handler: (value: T) => void, value: T): void {
  try {
    handler(value)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

/**
 * Progress of long preparations (downloads, builds): one line with size and time left on a terminal, nothing elsewhere.
 * The sink is injected, so the same reporter serves a terminal, a test and a caller who wants silence.
 */

/** Where progress lines go. */
export interface ProgressSink {
  readonly isTTY: boolean
  write(text: string): void
}

/** What a long task tells about itself. */
export interface Progress {
  /** Begins a step; without a known total only its name is shown. */
  step(name: string, totalBytes?: number): void
  /** Bytes of the current step done so far. */
  update(doneBytes: number): void
  /** Clears the line. Call it on every way out. */
  end(): void
}

/** Reports nothing. */
export const silentProgress: Progress = { step() {}, update() {}, end() {} }

const REDRAW_MS = 100
/** Before this a rate says more about start-up than about the transfer. */
const RATE_AFTER_MS = 1000
const CLEAR_LINE = '\r\x1b[K'

/**
 * A reporter on `sink`, silent where that is no terminal.
 *
 * @example terminalProgress(process.stderr).step('linux-image-6.12.117-cloud-amd64', 34_307_256)
 */
export function terminalProgress(sink: ProgressSink, now: () => number = () => performance.now()): Progress {
  return sink.isTTY ? new TerminalProgress(sink, now) : silentProgress
}

class TerminalProgress implements Progress {
  private name = ''
  private totalBytes = 0
  private startMs = 0
  private startBytes: number | undefined
  private drawnMs = Number.NEGATIVE_INFINITY
  private shown = false

  constructor(
    private readonly sink: ProgressSink,
    private readonly now: () => number,
  ) {}

  step(name: string, totalBytes = 0): void {
    this.name = name
    this.totalBytes = totalBytes
    this.startMs = this.now()
    this.startBytes = undefined
    this.draw(0)
  }

  update(doneBytes: number): void {
    // A resumed download starts part-way: the rate counts from the first figure.
    this.startBytes ??= doneBytes
    if (this.now() - this.drawnMs >= REDRAW_MS) this.draw(doneBytes)
  }

  end(): void {
    if (this.shown) this.sink.write(CLEAR_LINE)
    this.shown = false
  }

  private draw(doneBytes: number): void {
    this.drawnMs = this.now()
    this.shown = true
    this.sink.write(CLEAR_LINE + [this.name, this.amount(doneBytes), this.left(doneBytes)].filter(Boolean).join('  '))
  }

  private amount(doneBytes: number): string {
    return this.totalBytes === 0 ? '' : `${formatSize(doneBytes)} of ${formatSize(this.totalBytes)}`
  }

  private left(doneBytes: number): string {
    const elapsedMs = this.now() - this.startMs
    const movedBytes = doneBytes - (this.startBytes ?? 0)
    if (this.totalBytes === 0 || elapsedMs < RATE_AFTER_MS || movedBytes <= 0) return ''
    const leftMs = (Math.max(0, this.totalBytes - doneBytes) * elapsedMs) / movedBytes
    return `${formatDuration(leftMs)} left`
  }
}

/** `34.3 MB`, decimal units as apt prints them. */
export function formatSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}

function formatDuration(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

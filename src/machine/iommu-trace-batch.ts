/**
 * The device thread's end of the IOMMU's trace: makes a JSON line of each event and hands them on in batches, as a
 * message to the main thread costs more than an event.
 */
import type { Timer } from '../devices/timer.ts'
import { hex, type IommuTracer, type Untimed } from '../iommu/events.ts'
import type { IommuState } from '../iommu/state.ts'

/** Of the lines' format. */
const TRACE_VERSION = 1

/** The longest that a line waits. */
const BATCH_MS = 50
/** Characters of a batch; what guests send makes no other ones than ASCII. */
const BATCH_SIZE = 1 << 16

export interface TraceBatchOptions {
  /** Takes whole lines, each ended. */
  readonly send: (lines: string) => void
  readonly timer: Timer
  /** The machine's start: `performance.timeOrigin + performance.now()`, which threads have in common. */
  readonly startedMs: number
  /** The same for now; absent: the clock. */
  readonly now?: () => number
}

/**
 * See above.
 *
 * @example
 * const batch = new TraceBatch({ send: lines => postMessage({ type: 'iommuTrace', lines }), timer, startedMs })
 * batch.start(iommu.state())
 * iommu.tracer = batch.trace
 */
export class TraceBatch {
  private lines = ''
  private readonly now: () => number

  /** Takes an event. */
  readonly trace: IommuTracer = event => {
    if (this.lines === '') this.options.timer.arm(BATCH_MS, () => this.flush())
    this.lines += this.line(event)
    if (this.lines.length >= BATCH_SIZE) this.flush()
  }

  constructor(private readonly options: TraceBatchOptions) {
    this.now = options.now ?? (() => performance.timeOrigin + performance.now())
  }

  /** The first line of a trace: what it is of. */
  start(state: IommuState): void {
    this.trace({
      type: 'start',
      version: TRACE_VERSION,
      granule: state.granule,
      input: [hex(state.input.start), hex(state.input.end)],
      domains: [state.domainRange.start, state.domainRange.end],
      bypass: state.bypass,
      endpoints: state.endpoints.map(({ id, name, domain, reserved }) => ({
        id,
        name,
        ...(domain === null ? {} : { domain }),
        ...(reserved.length === 0
          ? {}
          : { reserved: reserved.map(({ kind, start, end }) => ({ kind, start: hex(start), end: hex(end) })) }),
      })),
    })
  }

  /** Hands on what there is, now. */
  flush(): void {
    this.options.timer.cancel()
    if (this.lines === '') return
    const { lines } = this
    this.lines = ''
    this.options.send(lines)
  }

  /** The time first: lines that people read begin with it. */
  private line(event: Untimed): string {
    const t = Math.round((this.now() - this.options.startedMs) * 1000) / 1000
    return `{"t":${t},${JSON.stringify(event).slice(1)}\n`
  }
}

/** Messages for the person at the command line: one line each on standard error, by level. */

/** From silent to talkative, kvmtool's words. */
export const LOG_LEVELS = ['error', 'warning', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Takes whole lines and drops those above its level. */
export class Log {
  constructor(
    readonly level: LogLevel,
    private readonly sink: (line: string) => void = line => void process.stderr.write(`${line}\n`),
  ) {}

  error(message: string): void {
    this.write('error', message)
  }

  warning(message: string): void {
    this.write('warning', message)
  }

  info(message: string): void {
    this.write('info', message)
  }

  debug(message: string): void {
    this.write('debug', message)
  }

  /** A milestone with the time since the process started, for `--loglevel debug` and the benchmarks. */
  phase(name: string): void {
    this.write('debug', `phase ${name} at ${performance.now().toFixed(1)} ms`)
  }

  /** Whether lines of `level` come out, for messages that cost something to make. */
  shows(level: LogLevel): boolean {
    return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(this.level)
  }

  private write(level: LogLevel, message: string): void {
    if (this.shows(level)) this.sink(`bulkhead: ${message}`)
  }
}

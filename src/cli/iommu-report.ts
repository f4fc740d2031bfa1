/** `bulkhead iommu report`: what a trace tells, on the terminal and as a page. */
import { closeSync, fstatSync, openSync, readSync, realpathSync, writeFileSync } from 'node:fs'
import { BadInput } from '../base/errors.ts'
import { type Progress, terminalProgress } from '../base/progress.ts'
import { reportPage } from '../report/page.ts'
import { type BuiltReport, ReportBuilder } from '../report/report-builder.ts'
import { reportText } from '../report/summary-text.ts'
import { TraceReader } from '../report/trace-reader.ts'
import type { Arguments } from './arguments.ts'

const CHUNK = 1 << 20

/** Reads the trace in `file`, and writes the page if there is to be one. */
export async function reportTrace(file: string, { values, switches }: Arguments): Promise<number> {
  const out = values['html']
  if (out !== undefined && isSame(file, out))
    throw new BadInput(`--html ${out} is the trace itself: choose another file`)
  const built = readReport(file, terminalProgress(process.stderr))
  if (out !== undefined) writePage(out, built)
  process.stdout.write(switches.has('json') ? `${JSON.stringify(built.report)}\n` : reportText(built.report))
  return 0
}

function readReport(file: string, progress: Progress): BuiltReport {
  const builder = new ReportBuilder()
  const reader = new TraceReader(file, event => builder.add(event))
  const fd = attempt(`cannot read the trace ${file}`, () => openSync(file, 'r'))
  try {
    progress.step(`reading ${file}`, fstatSync(fd).size)
    const buffer = new Uint8Array(CHUNK)
    for (;;) {
      const count = attempt(`cannot read the trace ${file}`, () => readSync(fd, buffer))
      if (count === 0) break
      reader.push(buffer.subarray(0, count))
      progress.update(reader.bytes)
    }
    reader.end()
  } finally {
    progress.end()
    closeSync(fd)
  }
  return builder.finish({ name: file, lines: reader.lines, isTruncated: reader.isTruncated })
}

function writePage(out: string, built: BuiltReport): void {
  attempt(`cannot write the page ${out}`, () => writeFileSync(out, reportPage(built)))
}

/** Errors of the file system are the user's to mend. */
function attempt<T>(what: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new BadInput(`${what} (${code}): check its path`)
  }
}

function isSame(file: string, out: string): boolean {
  try {
    return realpathSync(file) === realpathSync(out)
  } catch {
    // One of them is not there.
    return false
  }
}

/** `bulkhead iommu trace`: follows what happens at a running guest's IOMMU, to the guest's end. */
import { HostError } from '../base/errors.ts'
import { askInstance } from '../control/client.ts'
import { isAlive } from '../control/instances.ts'
import { LineText } from '../report/line-text.ts'
import type { LiveState } from '../report/state-text.ts'
import { parseEvent } from '../report/trace-reader.ts'
import { SIGPIPE } from './status.ts'
import { streamWriter } from './streams.ts'

/** Who pulls the instance's name away has time for so long. */
const ENDING_MS = 200

interface Answer {
  readonly lines: readonly string[]
  readonly next: number
  readonly lost: number
}

/** Prints lines as they come: for people, or as they are. */
export async function followTrace(name: string, isJson: boolean): Promise<number> {
  let isClosed = false
  const write = streamWriter(process.stdout, () => {
    isClosed = true
  })
  // Somebody may trace already, and then these lines begin in the middle.
  const { endpoints } = (await askInstance(name, 'iommuState')) as LiveState
  const format = new LineText(endpoints.map(endpoint => [endpoint.id, endpoint.name]))
  let cursor: number | undefined
  for (;;) {
    let answer: Answer
    try {
      answer = (await askInstance(name, 'iommuTrace', cursor === undefined ? {} : { cursor })) as Answer
    } catch (error) {
      if (cursor !== undefined && (await hasEnded(name, error))) return 0
      throw error
    }
    cursor = answer.next
    if (answer.lost > 0) process.stderr.write(`bulkhead: ${answer.lost} lines or more were lost: the guest is faster\n`)
    const lines = isJson ? answer.lines : answer.lines.map(line => readable(line, format))
    if (lines.length > 0) await write(new TextEncoder().encode(`${lines.join('\n')}\n`))
    if (isClosed) return 128 + SIGPIPE
  }
}

function readable(line: string, format: LineText): string {
  const event = parseEvent(line)
  return event === undefined ? line : format.line(event)
}

/** Whether a request failed as the instance is gone. */
async function hasEnded(name: string, error: unknown): Promise<boolean> {
  if (!(error instanceof HostError)) return !(await isAlive(name))
  await Bun.sleep(ENDING_MS)
  return !(await isAlive(name))
}

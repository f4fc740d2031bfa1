/** Reads a trace: lines in, checked events out. The last line may be cut off, as a run that was killed leaves it. */
import { BadInput } from '../base/errors.ts'
import type { IommuEvent } from '../iommu/events.ts'

/** The newest format that this version reads. */
const TRACE_VERSION = 1
/** No line of a trace is as long. */
const MAX_LINE = 1 << 20

/** What a field has to be; optional ones may be missing. */
type Kind = 'number' | 'string' | 'boolean' | 'address' | 'numbers' | 'addresses' | 'endpoints'
type Fields = Readonly<Record<string, Kind | `${Kind}?`>>

const FIELDS: Readonly<Record<IommuEvent['type'], Fields>> = {
  start: {
    version: 'number',
    granule: 'number',
    input: 'addresses',
    domains: 'numbers',
    bypass: 'boolean',
    endpoints: 'endpoints',
  },
  request: {
    seq: 'number',
    request: 'string',
    domain: 'number?',
    endpoint: 'number?',
    start: 'address?',
    end: 'address?',
    phys: 'address?',
    flags: 'number?',
    bytes: 'string',
  },
  reply: { seq: 'number', status: 'string?', written: 'number', us: 'number' },
  fault: {
    endpoint: 'number',
    name: 'string',
    reason: 'string',
    access: 'string',
    address: 'address',
    domain: 'number?',
    source: 'string?',
    detail: 'string?',
  },
  backend: { name: 'string', refused: 'string', outcome: 'string', error: 'string?' },
  invalidation: {
    cause: 'string',
    domain: 'number?',
    start: 'address',
    end: 'address',
    mappings: 'number',
    endpoints: 'numbers',
    waitedUs: 'number',
  },
  drop: { endpoint: 'number', address: 'address', cause: 'string' },
  reset: { value: 'string?' },
  features: { value: 'string?' },
  bypass: { value: 'string?' },
  finding: { name: 'string', section: 'string', text: 'string', bytes: 'string', seq: 'number?' },
}

/**
 * See above.
 *
 * @example
 * const reader = new TraceReader('trace.jsonl', event => report.add(event))
 * for await (const bytes of stream) reader.push(bytes)
 * reader.end()
 */
export class TraceReader {
  /** Whole lines so far. */
  lines = 0
  bytes = 0
  /** The last line was cut off, and left out. */
  isTruncated = false
  private rest = ''
  private readonly decoder = new TextDecoder()

  /** `name` is what messages call the trace. */
  constructor(
    private readonly name: string,
    private readonly onEvent: (event: IommuEvent) => void,
  ) {}

  /** Takes the next bytes; throws `BadInput` for a line that is none of a trace. */
  push(bytes: Uint8Array): void {
    this.bytes += bytes.length
    const text = this.rest + this.decoder.decode(bytes, { stream: true })
    let from = 0
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      this.line(text.slice(from, end))
      from = end + 1
    }
    this.rest = text.slice(from)
    if (this.rest.length > MAX_LINE) this.refuse(this.lines + 1)
  }

  /** There are no more bytes. */
  end(): void {
    if (this.rest !== '') {
      const event = parseEvent(this.rest)
      if (event === undefined) this.isTruncated = true
      else this.take(event)
    }
    if (this.lines > 0) return
    if (this.isTruncated) this.refuse(1)
    throw new BadInput(`${this.name} is empty: it has no line of an IOMMU trace`)
  }

  private line(text: string): void {
    const event = parseEvent(text)
    if (event === undefined) this.refuse(this.lines + 1)
    this.take(event)
  }

  private take(event: IommuEvent): void {
    this.lines++
    if (event.type === 'start' && event.version > TRACE_VERSION)
      throw new BadInput(`${this.name} is an IOMMU trace of format ${event.version}: use the bulkhead that made it`)
    this.onEvent(event)
  }

  private refuse(line: number): never {
    throw new BadInput(`${this.name}: line ${line} is no line of an IOMMU trace: make one with run --iommu-trace FILE`)
  }
}

/** The event of a line; undefined for a line that is none. */
export function parseEvent(line: string): IommuEvent | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const event = value as Record<string, unknown>
  const { type, t } = event
  if (typeof type !== 'string' || !Object.hasOwn(FIELDS, type) || !Number.isFinite(t)) return undefined
  const fields = FIELDS[type as IommuEvent['type']]
  for (const name in fields) if (!fits(event[name], fields[name] as string)) return undefined
  return event as unknown as IommuEvent
}

function fits(value: unknown, kind: string): boolean {
  if (value === undefined) return kind.endsWith('?')
  switch (kind.replace('?', '')) {
    // 1e999 is a number of JSON's.
    case 'number':
      return Number.isFinite(value)
    case 'address':
      return isAddress(value)
    case 'addresses':
      return Array.isArray(value) && value.length === 2 && value.every(isAddress)
    case 'numbers':
      return Array.isArray(value) && value.every(Number.isFinite)
    case 'endpoints':
      return Array.isArray(value) && value.every(isEndpoint)
    default:
      return typeof value === kind.replace('?', '')
  }
}

function isAddress(value: unknown): boolean {
  return typeof value === 'string' && /^0x[0-9a-f]{1,16}$/.test(value)
}

function isEndpoint(value: unknown): boolean {
  const { id, name, domain = 0, reserved = [] } = (value ?? {}) as Record<string, unknown>
  if (!Number.isFinite(id) || typeof name !== 'string' || !Number.isFinite(domain)) return false
  return Array.isArray(reserved) && reserved.every(isRegion)
}

function isRegion(value: unknown): boolean {
  const { kind, start, end } = (value ?? {}) as Record<string, unknown>
  return typeof kind === 'string' && isAddress(start) && isAddress(end)
}

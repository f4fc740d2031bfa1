/**
 * The control protocol: one JSON object a line in both directions. A request is `{id, method, params}`; the answer has
 * the same `id` and either `result` or `error` (a sentence), with `refused` when the request itself was at fault.
 */

/** A request. */
export interface ControlRequest {
  readonly id: number
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

/** An answer. */
export type ControlAnswer =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string; readonly refused?: boolean }

/** A longer line is no request of ours. */
const MAX_LINE_BYTES = 1 << 20

/** Cuts a byte stream into lines. */
export class LineSplitter {
  private rest = ''
  private readonly decoder = new TextDecoder()

  constructor(private readonly onLine: (line: string) => void) {}

  /** Takes the next bytes; false when a line is longer than any request. */
  push(bytes: Uint8Array): boolean {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split('\n')
    this.rest = lines.pop() ?? ''
    for (const line of lines) if (line !== '') this.onLine(line)
    return this.rest.length <= MAX_LINE_BYTES
  }
}

/** Parses a request; undefined when the line is none. */
export function parseRequest(line: string): ControlRequest | undefined {
  const value = parseObject(line)
  if (value === undefined) return undefined
  const { id, method, params } = value
  if (typeof id !== 'number' || typeof method !== 'string') return undefined
  return { id, method, params: isObject(params) ? params : {} }
}

/** Parses an answer; undefined when the line is none. */
export function parseAnswer(line: string): ControlAnswer | undefined {
  const value = parseObject(line)
  if (value === undefined || typeof value['id'] !== 'number') return undefined
  const { id, error, refused } = value as { id: number; error?: unknown; refused?: unknown }
  if (typeof error !== 'string') return { id, result: value['result'] }
  return refused === true ? { id, error, refused } : { id, error }
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

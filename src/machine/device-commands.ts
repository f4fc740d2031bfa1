/**
 * What the main thread asks of devices beyond a flag: one JSON line per request through a ring in shared memory, as a
 * thread that sleeps in epoll_wait takes no messages. Answers come back as messages.
 */
import type { ByteRing } from './byte-ring.ts'

/** Bytes of requests that may be under way; a power of two. */
export const COMMAND_RING_BYTES = 2 ** 14

/** A request to the device thread. */
export interface DeviceCommand {
  /** Echoed by the answer. */
  readonly id: number
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
}

/** Main thread: appends a request; false when the ring is full. */
export function sendCommand(ring: ByteRing, command: DeviceCommand): boolean {
  const line = new TextEncoder().encode(`${JSON.stringify(command)}\n`)
  if (line.length > ring.room) return false
  ring.push(line)
  return true
}

/** Device thread: takes what was requested. */
export function takeCommands(ring: ByteRing): readonly DeviceCommand[] {
  // Whole lines only: a request is pushed in one piece.
  const text = new TextDecoder().decode(ring.take())
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as DeviceCommand)
}

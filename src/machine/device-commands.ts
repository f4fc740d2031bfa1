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

/** Requests that may wait for room in the ring. */
const MAX_WAITING = 4096

/** Main thread: the ring's producer. What does not fit waits, as some of it (the end of an input) has no second try. */
export class CommandSender {
  private readonly waiting: Uint8Array[] = []

  constructor(private readonly ring: ByteRing) {}

  /** Appends a request, now or later; false when too many wait already. */
  send(command: DeviceCommand): boolean {
    if (this.waiting.length === MAX_WAITING) return false
    this.waiting.push(new TextEncoder().encode(`${JSON.stringify(command)}\n`))
    this.flush()
    return true
  }

  /** The device thread may have made room, as it has answered; whether there is a request that it does not know of. */
  flush(): boolean {
    let sent = false
    for (let line = this.waiting[0]; line !== undefined && line.length <= this.ring.room; line = this.waiting[0]) {
      this.ring.push(line)
      this.waiting.shift()
      sent = true
    }
    return sent
  }
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

/** The asking side of the control protocol. */
import { connect } from 'node:net'
import { BadInput, HostError } from '../base/errors.ts'
import { isAlive, socketPath } from './instances.ts'
import { LineSplitter, parseAnswer } from './protocol.ts'

/** Sends requests over a byte stream and matches the answers. */
export class ControlClient {
  private nextId = 1
  private readonly waiting = new Map<number, PromiseWithResolvers<unknown>>()
  private readonly splitter = new LineSplitter(line => this.onAnswer(line))

  /** `send` passes a line on; call `push` with what comes back, and `fail` when nothing more can come. */
  constructor(private readonly send: (line: string) => void) {}

  /** Asks and waits; throws `BadInput` or `HostError` with the instance's sentence when it refuses or fails. */
  request(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = this.nextId++
    const answer = Promise.withResolvers<unknown>()
    this.waiting.set(id, answer)
    this.send(`${JSON.stringify({ id, method, params })}\n`)
    return answer.promise
  }

  push(bytes: Uint8Array): void {
    this.splitter.push(bytes)
  }

  /** Ends all requests that wait, with `reason`. */
  fail(reason: string): void {
    for (const answer of this.waiting.values()) answer.reject(new HostError(reason))
    this.waiting.clear()
  }

  private onAnswer(line: string): void {
    const answer = parseAnswer(line)
    if (answer === undefined) return
    const waiting = this.waiting.get(answer.id)
    this.waiting.delete(answer.id)
    if ('error' in answer)
      waiting?.reject(answer.refused === true ? new BadInput(answer.error) : new HostError(answer.error))
    else waiting?.resolve(answer.result)
  }
}

/** Makes one request of the instance called `name`. */
export async function askInstance(
  name: string,
  method: string,
  params: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  if (!(await isAlive(name))) throw new BadInput(`no instance called "${name}" runs: see bulkhead list`)
  const socket = connect(socketPath(name))
  const client = new ControlClient(line => socket.write(line))
  socket.on('data', (bytes: Buffer) => client.push(bytes))
  socket.on('error', error => client.fail(`lost the connection to "${name}": ${error.message}`))
  socket.on('close', () => client.fail(`"${name}" ended before it answered`))
  try {
    return await client.request(method, params)
  } finally {
    socket.destroy()
  }
}

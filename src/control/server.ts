/** An instance's side of the control protocol: a Unix socket, or any byte stream, in front of a handler. */
import { renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Socket, UnixSocketListener } from 'bun'
import { BadInput, HostError } from '../base/errors.ts'
import { isAlive, socketPath } from './instances.ts'
import { type ControlAnswer, LineSplitter, parseRequest } from './protocol.ts'

/** Carries out a request; what it throws becomes the answer's `error`. */
export type ControlHandler = (method: string, params: Readonly<Record<string, unknown>>) => Promise<unknown>

/** A client: its requests so far, and answers that its socket had no room for. */
interface Client {
  readonly splitter: LineSplitter
  readonly unsent: Uint8Array[]
}

/** A listening control socket; closing it removes the socket file. Bun's own sockets: node:net costs 9 ms to start. */
export class ControlServer {
  private constructor(
    readonly path: string,
    private readonly listener: UnixSocketListener<Client>,
  ) {}

  /** Listens as instance `name`; throws `BadInput` when an instance of that name runs already. */
  static async listen(name: string, handler: ControlHandler): Promise<ControlServer> {
    const path = socketPath(name)
    if (await isAlive(name)) throw new BadInput(`an instance called "${name}" runs already: choose another --name`)
    // A socket that is bound and does not listen yet looks like one left behind, so it gets its name afterwards.
    // That name is short: the other one may be as long as a socket's address can be.
    const unnamed = join(dirname(path), `.${Math.random().toString(36).slice(2, 8)}`)
    try {
      const listener = Bun.listen<Client>({
        unix: unnamed,
        socket: {
          open: socket => {
            const unsent: Uint8Array[] = []
            const send = (line: string) => {
              unsent.push(new TextEncoder().encode(line))
              if (unsent.length === 1) flush(socket)
            }
            socket.data = { unsent, splitter: answerLines(handler, send) }
          },
          data: (socket, bytes) => {
            if (!socket.data.splitter.push(bytes)) socket.terminate()
          },
          drain: flush,
          // A client that goes away without waiting for its answer is no error of ours.
          error: socket => socket.terminate(),
        },
      })
      renameSync(unnamed, path)
      return new ControlServer(path, listener)
    } catch (error) {
      rmSync(unnamed, { force: true })
      throw new HostError(`cannot listen on ${path}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  close(): void {
    this.listener.stop(true)
    rmSync(this.path, { force: true })
  }
}

/** Sends what waits, as far as the socket takes it. */
function flush(socket: Socket<Client>): void {
  const { unsent } = socket.data
  for (let next = unsent[0]; next !== undefined; next = unsent[0]) {
    const count = socket.write(next)
    if (count < next.length) {
      if (count > 0) unsent[0] = next.subarray(count)
      return
    }
    unsent.shift()
  }
}

/** Answers the requests in a byte stream (a socket, a rig's control port) through `send`. */
export function answerLines(handler: ControlHandler, send: (line: string) => void): LineSplitter {
  return new LineSplitter(line => {
    const request = parseRequest(line)
    if (request === undefined) return
    const { id, method, params } = request
    const answer = (value: ControlAnswer) => send(`${JSON.stringify(value)}\n`)
    handler(method, params).then(
      result => answer({ id, result: result ?? null }),
      (error: unknown) => {
        const message = error instanceof Error ? error.message : String(error)
        answer(error instanceof BadInput ? { id, error: message, refused: true } : { id, error: message })
      },
    )
  })
}

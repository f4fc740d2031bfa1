/** An instance's side of the control protocol: a Unix socket, or any byte stream, in front of a handler. */
import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { BadInput, HostError } from '../base/errors.ts'
import { isAlive, socketPath } from './instances.ts'
import { type ControlAnswer, LineSplitter, parseRequest } from './protocol.ts'

/** Carries out a request; what it throws becomes the answer's `error`. */
export type ControlHandler = (method: string, params: Readonly<Record<string, unknown>>) => Promise<unknown>

/** A listening control socket; closing it removes the socket file. */
export class ControlServer {
  private readonly sockets = new Set<Socket>()

  private constructor(
    readonly path: string,
    private readonly server: Server,
    handler: ControlHandler,
  ) {
    server.on('connection', socket => {
      this.sockets.add(socket)
      const splitter = answerLines(handler, line => socket.write(line))
      socket.on('data', (bytes: Buffer) => {
        if (!splitter.push(bytes)) socket.destroy()
      })
      // A client that goes away without waiting for its answer is no error of ours.
      socket.on('error', () => socket.destroy())
      socket.on('close', () => this.sockets.delete(socket))
    })
  }

  /** Listens as instance `name`; throws `BadInput` when an instance of that name runs already. */
  static async listen(name: string, handler: ControlHandler): Promise<ControlServer> {
    const path = socketPath(name)
    if (await isAlive(name)) throw new BadInput(`an instance called "${name}" runs already: choose another --name`)
    const server = createServer()
    const control = new ControlServer(path, server, handler)
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => reject(new HostError(`cannot listen on ${path}: ${error.message}`)))
      server.listen(path, resolve)
    })
    return control
  }

  close(): void {
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
    rmSync(this.path, { force: true })
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
      (error: unknown) => answer({ id, error: error instanceof Error ? error.message : String(error) }),
    )
  })
}

/**
 * The host's ends of L1's virtio ports: one listening socket each, in the run's private folder, to which QEMU connects
 * before the machine starts. Flow control is the socket's own: what nobody reads here makes L1 wait.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { HostError } from '../base/errors.ts'

/** A connected port. */
export class PortSocket {
  constructor(private readonly socket: Socket) {
    // The other end is QEMU, and its death is reported from its exit status; an unheard 'error' would end us instead.
    socket.on('error', () => {})
  }

  /** Resolves once the bytes have left us, so a slow reader in L1 slows the caller. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise(resolve => {
      if (this.socket.destroyed || this.socket.writableEnded) resolve()
      else if (this.socket.write(bytes)) resolve()
      else {
        const done = () => {
          this.socket.off('drain', done)
          this.socket.off('close', done)
          resolve()
        }
        this.socket.on('drain', done)
        this.socket.on('close', done)
      }
    })
  }

  /** Ends our direction only: L1 reads what was sent, then end of file. */
  end(): void {
    this.socket.end()
  }

  /** What L1 sends; ends when QEMU does. */
  async *read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.socket as AsyncIterable<Uint8Array>) yield chunk
    } catch (error) {
      // A reset is how a killed QEMU looks from here.
      if (!this.socket.destroyed) throw error
    }
  }

  /** What L1 sends, as lines without their ends. */
  async *lines(): AsyncGenerator<string> {
    const decoder = new TextDecoder()
    let rest = ''
    for await (const chunk of this.read()) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = parts.pop() ?? ''
      yield* parts
    }
  }

  close(): void {
    this.socket.destroy()
  }
}

/** A socket that waits for QEMU's one connection. */
export class PortListener {
  readonly connected: Promise<PortSocket>
  readonly #server: Server
  #accepted: PortSocket | undefined

  private constructor(server: Server) {
    this.#server = server
    this.connected = new Promise(resolve => {
      server.once('connection', socket => {
        this.#accepted = new PortSocket(socket)
        resolve(this.#accepted)
      })
    })
  }

  /** Listens at `path`, which must not exist and must be short (sun_path holds 108 bytes). */
  static async open(path: string): Promise<PortListener> {
    // Half-open: the end of one direction must not end the other.
    const server = createServer({ allowHalfOpen: true })
    const listener = new PortListener(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', cause =>
        reject(new HostError(`cannot listen at ${path}: set TMPDIR to a short path`, { cause })),
      )
      server.listen(path, resolve)
    })
    return listener
  }

  close(): void {
    this.#accepted?.close()
    this.#server.close()
  }
}

/** QEMU's monitor protocol (QMP), as far as saving a machine needs it. */
import { HostError } from '../base/errors.ts'
import type { PortSocket } from './sockets.ts'

const POLL_MS = 5

type Reply = { readonly return?: unknown; readonly error?: { readonly desc?: string } }

/** One monitor connection; commands one at a time. */
export class Monitor {
  readonly #lines: AsyncGenerator<string>

  private constructor(private readonly socket: PortSocket) {
    this.#lines = socket.lines()
  }

  /** Does the greeting and leaves negotiation mode. */
  static async open(socket: PortSocket): Promise<Monitor> {
    const monitor = new Monitor(socket)
    await monitor.execute('qmp_capabilities')
    return monitor
  }

  /** Runs a command and gives its result; events in between are skipped. */
  async execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    await this.socket.write(Buffer.from(`${JSON.stringify({ execute: command, arguments: args })}\n`))
    for (;;) {
      const line = await this.#lines.next()
      if (line.done) throw new HostError(`QEMU ended during its command ${command}`)
      const reply = JSON.parse(line.value) as Reply
      if (reply.error) throw new HostError(`QEMU refused ${command}: ${reply.error.desc ?? 'no reason given'}`)
      if ('return' in reply) return reply.return
    }
  }

  /** Stops the machine and writes its devices' state to the shell command's input; RAM stays in its file. */
  async save(shellCommand: string): Promise<void> {
    await this.execute('stop')
    await this.#leaveRamInItsFile()
    await this.execute('migrate', { uri: `exec:${shellCommand}` })
    await this.#migrated('save')
  }

  /** Loads the state behind the inherited descriptor `fd` and lets the machine run. */
  async restore(fd: number): Promise<void> {
    await this.#leaveRamInItsFile()
    await this.execute('migrate-incoming', { uri: `fd:${fd}` })
    await this.#migrated('restore')
    // It was saved while stopped, and that is part of the state.
    await this.execute('cont')
  }

  #leaveRamInItsFile(): Promise<unknown> {
    return this.execute('migrate-set-capabilities', {
      capabilities: [{ capability: 'x-ignore-shared', state: true }],
    })
  }

  async #migrated(what: string): Promise<void> {
    for (;;) {
      const info = (await this.execute('query-migrate')) as { status?: string; 'error-desc'?: string }
      if (info.status === 'completed') return
      if (info.status === 'failed' || info.status === 'cancelled')
        throw new HostError(`QEMU could not ${what} the machine: ${info['error-desc'] ?? info.status}`)
      await Bun.sleep(POLL_MS)
    }
  }
}

/**
 * One emulated host (L1): the QEMU process, its private folder, its sockets. It never outlives us: QEMU is killed when
 * this process ends in any way (parent-death signal), and L1 powers off when its job port loses us.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HostError } from '../base/errors.ts'
import {
  type Attachments,
  type MachineSpec,
  type Memory,
  PORTS,
  type PortName,
  type QemuProgram,
  qemuArguments,
} from './qemu.ts'
import { PortListener, type PortSocket } from './sockets.ts'

/** Of temporary folders, with the process id behind it: whoever starts a rig next removes those of dead processes. */
export const FOLDER_PREFIX = 'bulkhead-rig-'
/** Descriptor at which QEMU finds the saved state. */
export const STATE_FD = 3
const CONSOLE_LINES = 15

/** What to start: the machine, where its memory comes from, and what the job brings. */
export interface L1Options {
  readonly program: QemuProgram
  readonly spec: MachineSpec
  readonly memory: Memory
  /** The saved state of the devices, with memory of kind `restore`. */
  readonly statePath?: string
  readonly env?: Readonly<Record<string, string>>
  readonly attachments: Attachments
  /** Ends the machine at once. */
  readonly abort?: AbortSignal | undefined
}

/** A started machine. `kill()` ends it and removes its folder; so does the end of this process. */
export class L1 {
  /** Resolves when QEMU has ended. */
  readonly ended: Promise<void>
  #stopped = false

  private constructor(
    private readonly folder: string,
    private readonly qemu: ChildProcess,
    private readonly listeners: ReadonlyMap<PortName | 'monitor', PortListener>,
    private readonly errors: Buffer[],
  ) {
    this.ended = new Promise(resolve => {
      qemu.once('exit', () => resolve())
      qemu.once('error', error => {
        errors.push(Buffer.from(error.message))
        resolve()
      })
    })
    process.once('exit', this.#atExit)
    qemu.stderr?.on('data', (chunk: Buffer) => errors.push(chunk))
  }

  static async start(options: L1Options): Promise<L1> {
    sweepFolders()
    const folder = mkdtempSync(join(tmpdir(), `${FOLDER_PREFIX}${process.pid}-`))
    const socket = (name: PortName | 'monitor') => join(folder, name)
    const listeners = new Map<PortName | 'monitor', PortListener>()
    try {
      for (const name of [...PORTS, 'terminal', 'monitor'] as const)
        listeners.set(name, await PortListener.open(socket(name)))
      const paths = { socket, console: join(folder, 'console.log') }
      const { program, spec, memory, attachments } = options
      const args = qemuArguments(program, spec, paths, memory, attachments)
      const state = options.statePath === undefined ? undefined : openSync(options.statePath, 'r')
      const command = [...dieWithParent(), ...program.command, ...args]
      const errors: Buffer[] = []
      // A session of its own: Ctrl-C at the terminal is ours to handle, not QEMU's.
      const qemu = spawn(command[0] as string, command.slice(1), {
        stdio: ['ignore', 'ignore', 'pipe', ...(state === undefined ? [] : [state])],
        env: { ...process.env, ...program.env, ...options.env },
        detached: true,
      })
      if (state !== undefined) closeSync(state)
      const l1 = new L1(folder, qemu, listeners, errors)
      options.abort?.addEventListener('abort', l1.#atExit)
      if (options.abort?.aborted) l1.#stop()
      return l1
    } catch (error) {
      for (const listener of listeners.values()) listener.close()
      rmSync(folder, { recursive: true, force: true })
      throw error
    }
  }

  /** The named port, once QEMU has connected to it; a `HostError` if QEMU ends first. */
  async port(name: PortName | 'monitor'): Promise<PortSocket> {
    const connected = (this.listeners.get(name) as PortListener).connected
    const socket = await Promise.race([connected, this.ended])
    if (socket === undefined) throw this.failure('QEMU did not start')
    return socket
  }

  /** An error that says `what` and shows what QEMU and L1 said last. */
  failure(what: string): HostError {
    const said = Buffer.concat(this.errors).toString().trim()
    const console = this.consoleTail()
    return new HostError(
      [`the emulated host failed: ${what}`, said, console && `its console ended with:\n${console}`]
        .filter(part => part !== '')
        .join('\n'),
    )
  }

  /** The last lines of L1's own console. */
  consoleTail(): string {
    const path = join(this.folder, 'console.log')
    if (!existsSync(path)) return ''
    return readFileSync(path, 'utf8').replaceAll('\r', '').trimEnd().split('\n').slice(-CONSOLE_LINES).join('\n')
  }

  /** Ends QEMU, if it has not ended, and removes everything of the run. */
  async kill(): Promise<void> {
    this.#stop()
    await this.ended
  }

  readonly #atExit = () => this.#stop()

  #stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    process.off('exit', this.#atExit)
    this.qemu.kill('SIGKILL')
    for (const listener of this.listeners.values()) listener.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** setpriv is part of util-linux, which every Debian has; elsewhere L1's own watch on its job port must do. */
function dieWithParent(): string[] {
  const path = Bun.which('setpriv')
  return path === null ? [] : [path, '--pdeathsig', 'KILL', '--']
}

/** Removes what runs that were killed left behind: the folder's name tells whose it was. */
function sweepFolders(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(FOLDER_PREFIX) ? Number.parseInt(name.slice(FOLDER_PREFIX.length), 10) : Number.NaN
    if (!Number.isNaN(pid) && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
}

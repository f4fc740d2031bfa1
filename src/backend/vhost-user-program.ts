/**
 * A vhost-user back end as a child process: starts it, asks what it offers, starts it again when it ends. Belongs to
 * the main thread; the device thread gets a connected socket over the link.
 *
 * The program is given a listening socket that already holds our connection, so there is nothing to wait for and no
 * name that stays. It ends with us in any case: its connection closes, and setpriv(1) has it killed when we die.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import { HostError } from '../base/errors.ts'
import { EventLoop } from '../host/event-loop.ts'
import { closeFd } from '../host/fd.ts'
import { connectUnix, listenUnix } from '../host/socket.ts'
import type { VhostUserOffer } from './vhost-user.ts'
import { type Alarm, VhostUserConnection } from './vhost-user-connection.ts'
import { LinkOwner, type VhostUserLink } from './vhost-user-link.ts'
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_GET_FEATURES,
  VHOST_USER_GET_PROTOCOL_FEATURES,
  VHOST_USER_GET_QUEUE_NUM,
  VHOST_USER_PROTOCOL_F_MQ,
} from './vhost-user-protocol.ts'

/** The descriptor of the listening socket in the program. */
export const LISTENER_FD = 3

/** How often the main thread looks for a reply while the program starts. */
const POLL_MS = 2
/** A program that ended is started again after this long, doubled each time up to the limit. */
const FIRST_DELAY_MS = 100
const LAST_DELAY_MS = 10_000
/** Having run for so long, it is trusted again. */
const TRUSTED_MS = 30_000
/** How long the program may take to end after its connection. */
const END_MS = 1000
/** What is kept of its messages. */
const LOG_BYTES = 1000

/** One run of the program. */
interface Run {
  readonly child: Subprocess<'ignore', 'ignore', 'pipe'>
  readonly socket: number
  readonly offer: VhostUserOffer
  readonly startedMs: number
  /** Resolves with the last words when the process is gone. */
  readonly ended: Promise<string>
}

/** Keeps a program running until it is disposed. */
export class VhostUserProgram implements AsyncDisposable {
  private readonly owner: LinkOwner
  private delayMs = FIRST_DELAY_MS
  private current: Run
  private closed = false
  private wakeUp: () => void = () => {}
  private readonly supervision: Promise<void>

  /** Starts the first of `commands` that works; throws `HostError` with what the last one said. */
  static async start(commands: readonly (readonly string[])[]): Promise<VhostUserProgram> {
    let failure: unknown
    for (const command of commands)
      try {
        return new VhostUserProgram(command, await launch(command))
      } catch (error) {
        failure = error
      }
    throw failure
  }

  private constructor(
    private readonly command: readonly string[],
    run: Run,
  ) {
    this.current = run
    this.owner = new LinkOwner(() => killAll(this.current.child))
    this.owner.connected(run.socket)
    this.supervision = this.supervise()
  }

  get link(): VhostUserLink {
    return this.owner.link
  }

  get offer(): VhostUserOffer {
    return this.current.offer
  }

  /** Ends the program; the device thread is done with its socket by then. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true
    this.wakeUp()
    this.owner.close()
    const { child } = this.current
    const late = setTimeout(() => killAll(child), END_MS)
    await this.supervision
    clearTimeout(late)
  }

  private async supervise(): Promise<void> {
    for (;;) {
      const reason = await this.current.ended
      if (this.closed) return
      if (performance.now() - this.current.startedMs > TRUSTED_MS) this.delayMs = FIRST_DELAY_MS
      this.owner.ended(reason)
      const next = await this.restart()
      if (next === undefined) return
      this.current = next
      this.owner.connected(next.socket)
    }
  }

  /** Tries until the program runs; undefined when it is not wanted any more. */
  private async restart(): Promise<Run | undefined> {
    for (;;) {
      await this.pause()
      if (this.closed) return undefined
      const run = await launch(this.command).catch((): undefined => undefined)
      if (run === undefined) continue
      // The guest has negotiated with what the first one offered.
      const { features, protocolFeatures } = this.offer
      const lacks = (features & ~run.offer.features) | (protocolFeatures & ~run.offer.protocolFeatures)
      if (lacks === 0n && !this.closed) return run
      closeFd(run.socket)
      killAll(run.child)
      await run.ended
    }
  }

  private async pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.wakeUp = resolve
    const timer = setTimeout(resolve, this.delayMs)
    this.delayMs = Math.min(this.delayMs * 2, LAST_DELAY_MS)
    await promise
    clearTimeout(timer)
  }
}

/** Starts the program and asks for its features; throws `HostError` when it does not come to that. */
async function launch(command: readonly string[]): Promise<Run> {
  const [listener, socket] = connectedListener()
  let child: Run['child']
  try {
    child = Bun.spawn([...command], {
      cwd: '/',
      // A group of its own: Ctrl-C at our terminal is for us.
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', listener],
    }) as unknown as Run['child']
  } catch (cause) {
    closeFd(socket)
    throw new HostError(`cannot start ${command[0]}`, { cause })
  } finally {
    closeFd(listener)
  }
  const ended = lastWords(child)
  try {
    const offer = await handshake(socket, child)
    return { child, socket, offer, startedMs: performance.now(), ended }
  } catch (error) {
    killAll(child)
    const end = await ended
    // What it said itself says more than how its socket looked.
    if (child.signalCode === null) throw new HostError(end, { cause: error })
    throw new HostError(`${error instanceof Error ? error.message : String(error)}; ${end}`)
  }
}

/** A listening socket with one connection waiting, and that connection's other end. Its name is gone already. */
function connectedListener(): [number, number] {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-'))
  try {
    const path = join(folder, 'socket')
    const listener = listenUnix(path, 1)
    const socket = connectUnix(path)
    if (socket >= 0) return [listener, socket]
    closeFd(listener)
    throw new HostError(`cannot connect to ${path} (errno ${-socket})`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Asks what the program offers; closes the socket when it does not answer. The main thread has no event loop of this
 * kind, so it looks now and then.
 */
async function handshake(socket: number, child: Run['child']): Promise<VhostUserOffer> {
  using loop = new EventLoop()
  let failure: string | undefined
  let offer: VhostUserOffer | undefined
  const connection = new VhostUserConnection(socket, {
    loop,
    alarm: mainAlarm(),
    failed: reason => {
      failure = reason
    },
  })
  const finish = (features: bigint, protocolFeatures: bigint, queues: number | undefined) => {
    offer = { features, protocolFeatures, queues }
  }
  connection.queryU64(VHOST_USER_GET_FEATURES, features => {
    if ((features & VHOST_USER_F_PROTOCOL_FEATURES) === 0n) {
      finish(features, 0n, undefined)
      return
    }
    connection.queryU64(VHOST_USER_GET_PROTOCOL_FEATURES, protocol => {
      if ((protocol & VHOST_USER_PROTOCOL_F_MQ) === 0n) finish(features, protocol, undefined)
      else connection.queryU64(VHOST_USER_GET_QUEUE_NUM, queues => finish(features, protocol, Number(queues)))
    })
  })
  while (offer === undefined && failure === undefined && child.exitCode === null && child.signalCode === null) {
    loop.wait(0)
    if (offer === undefined) await Bun.sleep(POLL_MS)
  }
  if (offer === undefined) {
    connection.close()
    throw new HostError(failure === undefined ? 'it does not run' : `it ${failure}`)
  }
  connection.release()
  return offer
}

function mainAlarm(): Alarm {
  let timer: ReturnType<typeof setTimeout> | undefined
  const cancel = () => clearTimeout(timer)
  return {
    arm: (delayMs, expired) => {
      cancel()
      timer = setTimeout(expired, delayMs)
    },
    cancel,
  }
}

/** The process and what it started: virtiofsd serves from a child in a PID namespace. */
function killAll(child: Run['child']): void {
  try {
    // A group of its own, by `detached`.
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // ESRCH: they are gone.
  }
}

/**
 * How the process ended, with the last that it wrote on standard error. Resolves when all processes that hold
 * standard error are gone.
 */
async function lastWords(child: Run['child']): Promise<string> {
  const decoder = new TextDecoder()
  let log = ''
  for await (const chunk of child.stderr) log = (log + decoder.decode(chunk, { stream: true })).slice(-LOG_BYTES)
  await child.exited
  const end = child.signalCode === null ? `status ${child.exitCode}` : `signal ${child.signalCode}`
  const lines = log.split('\n').filter(line => line.trim() !== '')
  return [`it ended with ${end}`, ...lines.slice(-3)].join(': ')
}

/**
 * passt(1): the user-mode network of guests whose owner has no privileges. It is given one end of a socket pair, and
 * ends when the other end is closed, however that comes about, so nothing stays behind when we are killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { HostError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EAGAIN } from '../host/errno.ts'
import { closeFd, setNonBlocking } from '../host/fd.ts'
import type { Pointer } from '../host/libc.ts'
import { receive, send, socketPair } from '../host/socket.ts'

/** The descriptor that passt finds its end at: the first behind the standard streams. */
const CHILD_FD = 3
const START_MS = 1000
const END_MS = 2000
const POLL_MS = 1
/** Before each frame. */
const LENGTH_SIZE = 4
/** Lines of every run that say nothing about why it ended. */
const CHATTER = /^Failed to send \d+ bytes to syslog|^Don't run as root|^Can't run AVX2 build/
const MAX_OUTPUT = 4096

/** How to run passt. */
export interface PasstOptions {
  readonly program: string
  readonly mtu: number
  /** The guest's address. */
  readonly mac: Uint8Array
  /** TCP ports of the host that lead to ports of the guest. */
  readonly forwards: readonly { readonly host: number; readonly guest: number }[]
}

/** A running passt. */
export class Passt implements AsyncDisposable {
  private constructor(
    private readonly child: ChildProcess,
    /** Our end, for the device thread. */
    readonly fd: number,
    private readonly exited: Promise<void>,
  ) {}

  /** Starts passt and waits until it serves the socket; throws `HostError` with its own words if it does not. */
  static async start(options: PasstOptions): Promise<Passt> {
    const [ours, theirs] = socketPair()
    // passt counts on blocking for the rest of a frame that it has read or sent a part of.
    setNonBlocking(theirs, false)
    let output = ''
    // In a session of its own: an interrupt from the terminal is for us, and passt ends after the guest.
    const child = spawn(options.program, passtArguments(options), {
      stdio: ['ignore', 'ignore', 'pipe', theirs],
      detached: true,
    })
    const failure = Promise.withResolvers<never>()
    const exited = new Promise<void>(resolve => {
      child.on('error', error => {
        failure.reject(startError(options.program, error))
        resolve()
      })
      child.on('close', () => {
        failure.reject(new HostError(`the user-mode network does not start: ${lastWords(output)}`))
        resolve()
      })
    })
    failure.promise.catch(() => {})
    child.stderr?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-MAX_OUTPUT)
    })
    closeFd(theirs)
    try {
      await Promise.race([failure.promise, answers(ours, options.mac)])
      return new Passt(child, ours, exited)
    } catch (error) {
      child.kill('SIGKILL')
      closeFd(ours)
      throw error
    }
  }

  /** The process, while it runs. */
  get pid(): number | undefined {
    return this.child.pid
  }

  /** Closes the socket, which ends passt. */
  async [Symbol.asyncDispose](): Promise<void> {
    closeFd(this.fd)
    const late = setTimeout(() => this.child.kill('SIGKILL'), END_MS)
    await this.exited
    clearTimeout(late)
  }
}

function passtArguments({ mtu, forwards }: PasstOptions): string[] {
  return [
    '--foreground',
    '--quiet',
    '--fd',
    String(CHILD_FD),
    '--mtu',
    String(mtu),
    ...forwards.flatMap(({ host, guest }) => ['--tcp-ports', `${host}:${guest}`]),
  ]
}

/**
 * Resolves when passt sent a frame, which is how it shows that it is ready: it answers an ARP request for every address
 * but the guest's own. On a host without IPv4 it stays silent; then the time decides.
 */
async function answers(fd: number, mac: Uint8Array): Promise<void> {
  const request = arpRequest(mac)
  send(fd, request.pointer, request.size)
  const deadline = performance.now() + START_MS
  const length = new CBuffer(LENGTH_SIZE)
  if (!(await receiveAll(fd, length, deadline))) return
  // Whole, so that the device thread finds the start of the next one.
  await receiveAll(fd, new CBuffer(length.view.getUint32(0)), Number.POSITIVE_INFINITY)
}

/** Fills `buffer`; false when nothing came until `deadline`. */
async function receiveAll(fd: number, buffer: CBuffer, deadline: number): Promise<boolean> {
  for (let have = 0; have < buffer.size; ) {
    const count = receive(fd, (buffer.pointer + have) as Pointer, buffer.size - have)
    if (count > 0) have += count
    else if (count !== -EAGAIN)
      await new Promise(() => {}) // The process ended, which is heard of from elsewhere.
    else if (have === 0 && performance.now() > deadline) return false
    else await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
  return true
}

/** A frame with its length in front: who has 192.0.2.255, an address of no host (a probe, RFC 5227 §2.1.1). */
function arpRequest(mac: Uint8Array): CBuffer {
  const frame = new CBuffer(4 + 42)
  frame.view.setUint32(0, 42)
  frame.bytes.fill(0xff, 4, 10)
  frame.bytes.set(mac, 10)
  frame.bytes.set([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1], 16)
  frame.bytes.set(mac, 26)
  frame.bytes.set([192, 0, 2, 255], 42)
  return frame
}

function startError(program: string, error: Error): HostError {
  const isMissing = 'code' in error && error.code === 'ENOENT'
  return new HostError(
    isMissing
      ? `the user-mode network needs the program ${program}, which is not here: install passt (Debian: apt install passt)`
      : `the user-mode network does not start: ${program}: ${error.message}`,
    { cause: error },
  )
}

/** The last line that explains something. */
function lastWords(output: string): string {
  const lines = output
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '' && !CHATTER.test(line))
  return lines.length === 0 ? 'passt ended without a word' : `passt says "${lines.join('; ')}"`
}

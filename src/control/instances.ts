/** The running instances of this user: one control socket each, in a directory that only the user can enter. */
import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { BadInput, HostError } from '../base/errors.ts'

const SUFFIX = '.sock'
/** sun_path is 108 bytes with its NUL. */
const MAX_SOCKET_PATH = 107

/** Where the sockets are: `$XDG_RUNTIME_DIR/bulkhead`, else `/tmp/bulkhead-UID`. Made when missing. */
export function instanceDirectory(): string {
  const path = directoryPath()
  const uid = process.getuid?.() ?? 0
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (error) {
    // What is there in its place is judged below.
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    if (code !== 'EEXIST') throw new HostError(`cannot make ${path} (${code}): set XDG_RUNTIME_DIR`, { cause: error })
  }
  const stat = lstatSync(path)
  // Somebody else's directory in /tmp could hand our sockets to them.
  if (!stat.isDirectory() || stat.uid !== uid) throw new HostError(`${path} is not a directory of yours: remove it`)
  if ((stat.mode & 0o077) !== 0) chmodSync(path, 0o700)
  return path
}

/** Throws `BadInput` for a name that no instance can have; makes nothing. */
export function checkInstanceName(name: string): void {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name))
    throw new BadInput(`"${name}" is no instance name: use letters, digits, "_", "." and "-"`)
  const path = join(directoryPath(), name + SUFFIX)
  if (path.length > MAX_SOCKET_PATH) throw new BadInput(`the instance name "${name}" is too long: use a shorter one`)
}

/** Socket path of the instance called `name`; throws `BadInput` for a name that no instance can have. */
export function socketPath(name: string): string {
  checkInstanceName(name)
  return join(instanceDirectory(), name + SUFFIX)
}

function directoryPath(): string {
  const runtime = process.env['XDG_RUNTIME_DIR']
  const uid = process.getuid?.() ?? 0
  return runtime === undefined || runtime === '' ? `/tmp/bulkhead-${uid}` : join(runtime, 'bulkhead')
}

/** Names of the instances that answer, sorted. Sockets of processes that are gone are removed. */
export async function runningInstances(): Promise<string[]> {
  const names = readdirSync(instanceDirectory())
    .filter(file => file.endsWith(SUFFIX))
    .map(file => file.slice(0, -SUFFIX.length))
    .sort()
  const alive = await Promise.all(names.map(isAlive))
  return names.filter((_, index) => alive[index])
}

/** Whether a process listens on the instance's socket; a socket without one is removed. */
export async function isAlive(name: string): Promise<boolean> {
  const path = socketPath(name)
  if (!existsSync(path)) return false
  const { connect } = await import('node:net')
  const refusal = await new Promise<string | undefined>(resolve => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
  if (refusal === undefined) return true
  if (refusal === 'ECONNREFUSED') rmSync(path, { force: true })
  // Any other refusal but a missing file (a full backlog, say) comes from somebody who is there.
  return refusal !== 'ECONNREFUSED' && refusal !== 'ENOENT'
}

/** The socket device on the main thread: its context id and the socket at which host programs reach the guest. */
import { lstatSync, rmSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { BadInput, SysError } from '../../base/errors.ts'
import { ECONNREFUSED, ENOENT, errnoName } from '../../host/errno.ts'
import { closeFd } from '../../host/fd.ts'
import { connectUnix, listenUnix } from '../../host/socket.ts'
import type { OpenDevice } from './environment.ts'

/** 0 to 2 are the hypervisor's and the host's (VIRTIO 1.2 §5.10.4), the last is for any. */
const MIN_CID = 3
const MAX_CID = 0xffff_fffe
/** Host ports get sockets of their own next to PATH: the longest suffix is "_4294967295". */
const MAX_PATH = 107 - 11

/** A socket device in the configuration of a machine. */
export interface VsockConfig {
  readonly kind: 'vsock'
  /** The guest's context id, 3 or more. */
  readonly cid: number
  /** Where host programs connect to reach the guest; host port P is the socket at `path`_P. */
  readonly path: string
}

/** A socket device for the device thread. */
export interface VsockPlan {
  readonly cid: number
  readonly path: string
  readonly listenFd: number
}

/** Throws `BadInput` for a configuration that cannot be had here; returns the whole path. */
export function checkVsock({ cid, path: given }: VsockConfig): string {
  if (!Number.isInteger(cid) || cid < MIN_CID || cid > MAX_CID)
    throw new BadInput(`a guest's context id is ${MIN_CID} to ${MAX_CID}, not ${cid}`)
  if (given === '') throw new BadInput('vsock needs the path of a socket')
  const path = resolve(given)
  if (new TextEncoder().encode(path).length > MAX_PATH)
    throw new BadInput(`${path} is too long for a vsock path: use up to ${MAX_PATH} bytes`)
  const folder = dirname(path)
  if (lookUp(folder, statSync)?.isDirectory() !== true)
    throw new BadInput(`vsock path ${path}: there is no directory ${folder}`)
  isStale(path)
  return path
}

/** Checks a configuration and listens at its path; throws `BadInput`. */
export function openVsock(config: VsockConfig): OpenDevice<VsockPlan> {
  const path = checkVsock(config)
  if (isStale(path)) rmSync(path, { force: true })
  const listenFd = listen(path)
  const { ino } = lstatSync(path)
  return {
    plan: { cid: config.cid, path, listenFd },
    resources: {
      [Symbol.asyncDispose]: () => {
        closeFd(listenFd)
        // Somebody else may have put a socket of their own there.
        if (lookUp(path, lstatSync)?.ino === ino) rmSync(path, { force: true })
        return Promise.resolve()
      },
    },
  }
}

/** Whether the socket of a process that has died lies there; throws `BadInput` when something else does. */
function isStale(path: string): boolean {
  const found = lookUp(path, lstatSync)
  if (found === undefined) return false
  if (!found.isSocket()) throw new BadInput(`${path} exists and is no socket: choose another vsock path`)
  const result = connectUnix(path)
  if (result === -ECONNREFUSED) return true
  if (result === -ENOENT) return false
  if (result >= 0) closeFd(result)
  const reason = result >= 0 ? '' : ` (${errnoName(-result)})`
  throw new BadInput(`${path} is in use by another process${reason}: choose another vsock path`)
}

/** Undefined for what is not there, or cannot be looked at. */
function lookUp(path: string, look: (path: string) => Stats): Stats | undefined {
  try {
    return look(path)
  } catch {
    return undefined
  }
}

function listen(path: string): number {
  try {
    return listenUnix(path)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    throw new BadInput(`cannot listen for vsock connections: ${error.message}`, { cause: error })
  }
}

/** Opens a tap's queues, and says what went wrong in words that help. */
import { existsSync } from 'node:fs'
import { BadInput, HostError, SysError } from '../../base/errors.ts'
import { EACCES, EBUSY, EINVAL, EPERM } from '../../host/errno.ts'
import { closeFd, setNonBlocking } from '../../host/fd.ts'
import {
  IFF_NO_PI,
  IFF_TAP,
  IFF_VNET_HDR,
  interfaceMtu,
  MAX_INTERFACE_NAME,
  openTap,
  setInterfaceMtu,
  setInterfaceUp,
  setTapHeaderSize,
  setTapOffload,
  tapInterface,
} from '../../host/tap.ts'
import { HEADER_SIZE } from '../../virtio/net-header.ts'

/** Ethernet's own, which a guest takes without being told. */
const DEFAULT_MTU = 1500

/** Which tap to open. */
export interface TapRequest {
  readonly name: string | undefined
  readonly fds: readonly number[] | undefined
  readonly queues: number
  readonly mtu: number | undefined
}

/** An open tap; disposed when no thread uses it any more. An interface that we made goes with it. */
export interface OpenTap extends AsyncDisposable {
  readonly name: string
  readonly fds: readonly number[]
  /** What to tell the guest. */
  readonly mtu: number | undefined
}

/** Opens or takes over the descriptors of a tap, ready for packets with virtio's header. */
export function openTapQueues(request: TapRequest): OpenTap {
  const opened: number[] = []
  try {
    const isNew = request.fds === undefined && !isInterface(request.name)
    if (request.fds === undefined) openByName(request, opened)
    else for (const fd of request.fds) opened.push(takeOver(fd))
    const { name } = tapInterface(opened[0] as number)
    for (const fd of opened) {
      setTapHeaderSize(fd, HEADER_SIZE)
      setTapOffload(fd, 0)
    }
    if (isNew) {
      if (request.mtu !== undefined) setInterfaceMtu(name, request.mtu)
      setInterfaceUp(name)
    }
    const mtu = request.mtu ?? unusual(interfaceMtu(name))
    return { name, fds: opened, mtu, [Symbol.asyncDispose]: async () => closeAll(opened) }
  } catch (error) {
    closeAll(opened)
    throw error
  }
}

function openByName(request: TapRequest, opened: number[]): void {
  let name = request.name ?? ''
  if (request.name !== undefined) checkName(request.name)
  for (let i = 0; i < request.queues; i++) {
    const queue = openQueue(name, request.queues > 1)
    opened.push(queue.fd)
    name = queue.name
  }
}

function openQueue(name: string, multiQueue: boolean): { readonly fd: number; readonly name: string } {
  try {
    return openTap(name, multiQueue)
  } catch (error) {
    // An interface that was made for several queues is opened as such for one, too.
    if (!multiQueue && isInterface(name) && error instanceof SysError && error.errno === EINVAL)
      return openOrExplain(name, true)
    throw explain(name, multiQueue, error)
  }
}

function openOrExplain(name: string, multiQueue: boolean): { readonly fd: number; readonly name: string } {
  try {
    return openTap(name, multiQueue)
  } catch (error) {
    throw explain(name, multiQueue, error)
  }
}

function explain(name: string, multiQueue: boolean, error: unknown): unknown {
  if (!(error instanceof SysError)) return error
  const options = { cause: error }
  switch (error.errno) {
    case EACCES:
    case EPERM: {
      const dev = name === '' ? 'NAME' : name
      const make = `ip tuntap add dev ${dev} mode tap user ${process.getuid?.() ?? 'USER'}`
      return new HostError(
        `a tap interface needs rights that we do not have: run "${make}" as root, or use mode=user`,
        options,
      )
    }
    case EBUSY:
      return new BadInput(`the tap interface ${name} is in use by another program: name another one`, options)
    case EINVAL:
      return new BadInput(
        isInterface(name) && multiQueue
          ? `${name} is no tap interface for several queues: make it with "ip tuntap add dev ${name} mode tap multi_queue"`
          : `${name} is no tap interface: name one, or leave the name out for a new one`,
        options,
      )
    default:
      return error
  }
}

/** A descriptor that we were started with. */
function takeOver(fd: number): number {
  let flags: number
  try {
    flags = tapInterface(fd).flags
    setNonBlocking(fd, true)
  } catch (error) {
    throw new BadInput(`fd=${fd} is no tap interface that was opened for us`, { cause: error })
  }
  const needed = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
  if ((flags & needed) !== needed)
    throw new BadInput(`fd=${fd} must be a tap that was opened with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR`)
  return fd
}

function checkName(name: string): void {
  if (!/^[^\s/:%]+$/.test(name) || name === '.' || name === '..' || Buffer.byteLength(name) > MAX_INTERFACE_NAME)
    throw new BadInput(`"${name}" is no name for an interface: up to ${MAX_INTERFACE_NAME} bytes, no spaces, /, : or %`)
}

function isInterface(name: string | undefined): boolean {
  return name !== undefined && name !== '' && existsSync(`/sys/class/net/${name}`)
}

function unusual(mtu: number): number | undefined {
  return mtu === DEFAULT_MTU ? undefined : mtu
}

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeFd(fd)
}

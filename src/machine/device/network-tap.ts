/** Opens the queues of a tap interface: a new one, one that is there, or descriptors that we were started with. */
import { existsSync, readFileSync } from 'node:fs'
import { BadInput, HostError, SysError } from '../../base/errors.ts'
import { EACCES, EBUSY, EPERM } from '../../host/errno.ts'
import { closeFd, setNonBlocking } from '../../host/fd.ts'
import {
  IFF_MULTI_QUEUE,
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
  type TapQueue,
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

/** Throws `BadInput` for a name that cannot be a tap's; returns whether it is to be opened for several queues. */
export function checkTap(wanted: string | undefined, queues: number): boolean {
  if (wanted !== undefined) checkName(wanted)
  return wanted !== undefined && isInterface(wanted) ? madeForQueues(wanted, queues) : queues > 1
}

function openByName({ name: wanted, queues }: TapRequest, opened: number[]): void {
  const multiQueue = checkTap(wanted, queues)
  let name = wanted ?? ''
  for (let i = 0; i < queues; i++) {
    const queue = openQueue(name, multiQueue)
    opened.push(queue.fd)
    name = queue.name
  }
}

/** Whether an interface that is there was made for several queues, and so has to be opened. */
function madeForQueues(name: string, queues: number): boolean {
  const path = `/sys/class/net/${name}/tun_flags`
  const flags = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
  if ((flags & IFF_TAP) === 0)
    throw new BadInput(`${name} is no tap interface: name one, or leave the name out for a new one`)
  const multiQueue = (flags & IFF_MULTI_QUEUE) !== 0
  if (queues > 1 && !multiQueue)
    throw new BadInput(
      `${name} was made for one queue: make it with "ip tuntap add dev ${name} mode tap multi_queue", or leave queues out`,
    )
  return multiQueue
}

/** Opens a queue, and says what went wrong in words that help. */
function openQueue(name: string, multiQueue: boolean): TapQueue {
  try {
    return openTap(name, multiQueue)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    const options = { cause: error }
    switch (error.errno) {
      case EACCES:
      case EPERM: {
        const dev = name === '' ? 'NAME' : name
        const make = `ip tuntap add dev ${dev} mode tap user ${process.getuid?.() ?? 'USER'}`
        throw new HostError(
          `a tap interface needs rights that we do not have (${error.message}): run "${make}" as root and name it, or use mode=user`,
          options,
        )
      }
      case EBUSY:
        throw new BadInput(`the tap interface ${name} is in use by another program: name another one`, options)
      default:
        throw error
    }
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

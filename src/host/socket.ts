/**
 * Unix stream sockets, non-blocking and close-on-exec, as raw descriptors.
 *
 * What a peer can cause (gone, full, refused) is a result, not an exception: the calls that depend on it return a
 * count or descriptor, or `-errno`. EINTR is retried here. No call raises SIGPIPE.
 */
import { BadInput } from '../base/errors.ts'
import { CBuffer } from './c-buffer.ts'
import { EINTR } from './errno.ts'
import { closeFd } from './fd.ts'
import { check, errno, libc, type Pointer, throwErrno } from './libc.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const STREAM = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
const SOL_SOCKET = 1
const MSG_NOSIGNAL = 0x4000

/** `how` of shutdown(2). */
export const SHUT_RD = 0
export const SHUT_WR = 1
export const SHUT_RDWR = 2

/** setsockopt(2) at SOL_SOCKET: buffer sizes in bytes. */
export const SO_SNDBUF = 7
export const SO_RCVBUF = 8

// struct sockaddr_un: family, then a path of up to 107 bytes and its NUL.
const PATH_OFFSET = 2
const MAX_PATH = 107

/** Two connected sockets. */
export function socketPair(): [number, number] {
  const pair = new CBuffer(8)
  check('socketpair', libc.socketpair(AF_UNIX, STREAM, 0, pair.pointer))
  return [pair.view.getInt32(0, true), pair.view.getInt32(4, true)]
}

/** Listens at `path`, which must not exist. */
export function listenUnix(path: string, backlog = 16): number {
  const address = unixAddress(path)
  const fd = check('socket', libc.socket(AF_UNIX, STREAM, 0))
  try {
    check(`bind ${path}`, libc.bind(fd, address.pointer, address.size))
    check(`listen ${path}`, libc.listen(fd, backlog))
    return fd
  } catch (error) {
    closeFd(fd)
    throw error
  }
}

/** Takes a connection: its descriptor, or `-errno` (-EAGAIN: none waits). */
export function acceptSocket(listener: number): number {
  for (;;) {
    const fd = libc.accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if (fd >= 0) return fd
    const error = errno()
    if (error !== EINTR) return -error
  }
}

/** Connects to `path` at once: the descriptor, or `-errno` (-EAGAIN: the listener's queue is full). */
export function connectUnix(path: string): number {
  const address = unixAddress(path)
  const fd = check('socket', libc.socket(AF_UNIX, STREAM, 0))
  if (libc.connect(fd, address.pointer, address.size) === 0) return fd
  const error = errno()
  closeFd(fd)
  return -error
}

/** Reads up to `size` bytes to `pointer`, which the caller keeps alive; 0 at the end of the stream, or `-errno`. */
export function receive(fd: number, pointer: Pointer, size: number): number {
  for (;;) {
    const count = libc.recv(fd, pointer, size, 0) as number
    if (count >= 0) return count
    const error = errno()
    if (error !== EINTR) return -error
  }
}

/** Writes up to `size` bytes from `pointer`, which the caller keeps alive; how many were taken, or `-errno`. */
export function send(fd: number, pointer: Pointer, size: number): number {
  for (;;) {
    const count = libc.send(fd, pointer, size, MSG_NOSIGNAL) as number
    if (count >= 0) return count
    const error = errno()
    if (error !== EINTR) return -error
  }
}

/** Ends one direction or both; a peer that is gone already is no error. */
export function shutdownSocket(fd: number, how: number): void {
  libc.shutdown(fd, how)
}

/** Sets an integer option at SOL_SOCKET. */
export function setSocketOption(fd: number, option: number, value: number): void {
  const buffer = new CBuffer(4)
  buffer.view.setInt32(0, value, true)
  if (libc.setsockopt(fd, SOL_SOCKET, option, buffer.pointer, 4) < 0) throwErrno('setsockopt')
}

function unixAddress(path: string): CBuffer {
  const encoded = new TextEncoder().encode(path)
  if (encoded.length > MAX_PATH || encoded.includes(0))
    throw new BadInput(`${path} is no path for a socket: it may have up to ${MAX_PATH} bytes`)
  const address = new CBuffer(PATH_OFFSET + encoded.length + 1)
  address.view.setUint16(0, AF_UNIX, true)
  address.bytes.set(encoded, PATH_OFFSET)
  return address
}

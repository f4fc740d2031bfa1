/** File descriptors as raw numbers: open, close, read and write without an event loop. */
import { constants } from 'node:fs'
import { CBuffer } from './c-buffer.ts'
import { EAGAIN, EINTR } from './errno.ts'
import { check, cString, errno, libc, throwErrno } from './libc.ts'

const F_SETFL = 4
const F_GETFL = 3

/** Opens `path` with `flags` (node:fs constants) and O_CLOEXEC; throws `SysError` naming the path. */
export function openFd(path: string, flags: number): number {
  const name = cString(path)
  return check(`open ${path}`, libc.open(name.pointer, flags | 0o2000000, 0o600))
}

/** Closes `fd`; errors are ignored, as the descriptor is gone either way. */
export function closeFd(fd: number): void {
  libc.close(fd)
}

/** Sets or clears O_NONBLOCK. */
export function setNonBlocking(fd: number, on: boolean): void {
  const flags = check('fcntl(F_GETFL)', libc.fcntl(fd, F_GETFL, 0))
  const wanted = on ? flags | constants.O_NONBLOCK : flags & ~constants.O_NONBLOCK
  check('fcntl(F_SETFL)', libc.fcntl(fd, F_SETFL, wanted))
}

/** Reads up to `buffer.size` bytes; 0 at the end of file, undefined when a non-blocking `fd` has none now. */
export function readFd(fd: number, buffer: CBuffer): number | undefined {
  for (;;) {
    const count = libc.read(fd, buffer.pointer, buffer.size) as number
    if (count >= 0) return count
    if (errno() === EAGAIN) return undefined
    if (errno() !== EINTR) throwErrno('read')
  }
}

/** Writes all of `bytes` to a blocking `fd`. */
export function writeAll(fd: number, bytes: Uint8Array): void {
  const copy = CBuffer.of(bytes)
  let at = 0
  while (at < bytes.length) {
    const count = libc.write(fd, (copy.pointer + at) as typeof copy.pointer, bytes.length - at) as number
    if (count >= 0) at += count
    else if (errno() !== EINTR) throwErrno('write')
  }
}

/** Reads and writes at a place in a file, which leave its position alone. They answer as the kernel does. */
import type { CBuffer } from './c-buffer.ts'
import { errno, libc } from './libc.ts'

/** pread(2) of `size` bytes into the start of `buffer`, which is kept alive by the caller: bytes, or a negative errno. */
export function readAt(fd: number, buffer: CBuffer, size: number, offset: number): number {
  return orErrno(libc.pread(fd, buffer.pointer, size, offset) as number)
}

/** pwrite(2) of the first `size` bytes of `buffer`, with the same rule. */
export function writeAt(fd: number, buffer: CBuffer, size: number, offset: number): number {
  return orErrno(libc.pwrite(fd, buffer.pointer, size, offset) as number)
}

function orErrno(result: number): number {
  return result < 0 ? -errno() : result
}

/** Checked ioctl calls. */

import type { CBuffer } from './c-buffer.ts'
import type { Pointer } from './libc.ts'
import { check, errno, libc } from './libc.ts'

/** ioctl with a pointer to `argument`, which the caller's reference keeps alive during the call. */
export function ioctl(name: string, fd: number, request: number, argument: CBuffer): number {
  return check(name, libc.ioctl(fd, request, argument.pointer))
}

/** As `ioctl`, for calls whose failure is an answer: a negative errno. */
export function tryIoctl(fd: number, request: number, argument: CBuffer): number {
  const result = libc.ioctl(fd, request, argument.pointer)
  return result < 0 ? -errno() : result
}

/** ioctl whose third argument is a plain value (0 where the call takes none). */
export function ioctlValue(name: string, fd: number, request: number, value = 0): number {
  return check(name, libc.ioctl(fd, request, value as Pointer))
}

/** Checked ioctl calls. */

import type { CBuffer } from '../host/c-buffer.ts'
import type { Pointer } from '../host/libc.ts'
import { check, libc } from '../host/libc.ts'

/** ioctl with a pointer to `argument`, which the caller's reference keeps alive during the call. */
export function ioctl(name: string, fd: number, request: number, argument: CBuffer): number {
  return check(name, libc.ioctl(fd, request, argument.pointer))
}

/** ioctl whose third argument is a plain value (0 where the call takes none). */
export function ioctlValue(name: string, fd: number, request: number, value = 0): number {
  return check(name, libc.ioctl(fd, request, value as Pointer))
}

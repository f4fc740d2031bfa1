/** What this process may use of the host (getrlimit(2)). */
import { getU64 } from '../base/u64.ts'
import { CBuffer } from './c-buffer.ts'
import { check, libc } from './libc.ts'

/** Bytes of memory that may be locked; the same on x86-64 and arm64 (asm-generic/resource.h). */
export const RLIMIT_MEMLOCK = 8

/** struct rlimit: rlim_cur and rlim_max, 64 bits each. */
const RLIMIT_SIZE = 16
const CURRENT = 0
const MAXIMUM = 8

/** `Infinity`: no limit. A process may raise `current` up to `maximum`. */
export interface ResourceLimit {
  readonly current: number
  readonly maximum: number
}

/** The limit of a resource now. */
export function resourceLimit(resource: number): ResourceLimit {
  const { view } = read(resource)
  return { current: bytes(view, CURRENT), maximum: bytes(view, MAXIMUM) }
}

/** Makes the limit as high as this process may, and returns it. */
export function raiseResourceLimit(resource: number): number {
  const limit = read(resource)
  limit.bytes.copyWithin(CURRENT, MAXIMUM, RLIMIT_SIZE)
  check('setrlimit', libc.setrlimit(resource, limit.pointer))
  return bytes(limit.view, CURRENT)
}

function read(resource: number): CBuffer {
  const limit = new CBuffer(RLIMIT_SIZE)
  check('getrlimit', libc.getrlimit(resource, limit.pointer))
  return limit
}

/** RLIM_INFINITY is all ones; no limit that means anything comes near 2^53. */
function bytes(view: DataView, offset: number): number {
  const value = getU64(view, offset)
  return value >= 2 ** 53 ? Number.POSITIVE_INFINITY : value
}

/**
 * INFO structs of VFIO: a fixed part whose `argsz` says how much the kernel has to tell, and a chain of capabilities
 * behind it (linux/vfio.h, struct vfio_info_cap_header).
 */
import { SysError } from '../base/errors.ts'
import { CBuffer } from '../host/c-buffer.ts'
import { EINVAL, errnoName } from '../host/errno.ts'
import { tryIoctl } from '../host/ioctl.ts'
import { vfio_info_cap_header } from './structs.ts'

/** More than any chain; what says that it is longer is not believed. */
const MAX_BYTES = 2 ** 20
const MAX_CAPABILITIES = 64
/** `argsz` comes first in each of them. */
const ARGSZ = 0

/** One INFO call. */
export interface InfoCall {
  /** For errors, "VFIO_DEVICE_GET_INFO". */
  readonly name: string
  readonly request: number
  /** Of the struct without capabilities. */
  readonly size: number
  /** Sets what the call takes besides `argsz`. */
  readonly prepare?: (view: DataView) => void
}

/**
 * What the kernel tells, as long as it says that it is; undefined when it refuses with EINVAL, as for what a device does
 * not have. Throws `SysError` for other failures.
 */
export function readInfo(fd: number, { name, request, size, prepare }: InfoCall): DataView | undefined {
  for (let bytes = size; ; ) {
    const info = new CBuffer(bytes)
    info.view.setUint32(ARGSZ, bytes, true)
    prepare?.(info.view)
    const result = tryIoctl(fd, request, info)
    if (result === -EINVAL) return undefined
    if (result < 0) throw new SysError(name, -result, errnoName(-result))
    const wanted = info.view.getUint32(ARGSZ, true)
    if (wanted <= bytes || wanted > MAX_BYTES) return info.view
    bytes = wanted
  }
}

/** Offset in `info` of the capability `id` in the chain that starts at `first` (0: there is no chain). */
export function findCapability(info: DataView, first: number, id: number, size: number): number | undefined {
  const { offset } = vfio_info_cap_header
  let at = first
  for (let count = 0; at !== 0 && at + size <= info.byteLength && count < MAX_CAPABILITIES; count++) {
    if (info.getUint16(at + offset.id, true) === id) return at
    at = info.getUint32(at + offset.next, true)
  }
  return undefined
}

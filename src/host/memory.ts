/** Copies between addresses of this process. */
import { libc, type Pointer } from './libc.ts'

/** Copies `size` bytes; both ranges are mapped and stay so during the call, and do not overlap. */
export function copyMemory(target: number, source: number, size: number): void {
  libc.memcpy(target as Pointer, source as Pointer, size)
}

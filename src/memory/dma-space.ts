/**
 * A device's view of memory. Every access of a device to guest memory, rings and descriptors included, goes through
 * its DmaSpace: the identity where there is no IOMMU, the endpoint's domain where there is one.
 */
import type { Extents } from './extents.ts'
import type { GuestMemory } from './guest-memory.ts'

/** What the device wants to do with the memory; masks. */
export const Access = { read: 1, write: 2 } as const

/** Translates I/O virtual addresses. */
export interface DmaSpace {
  readonly memory: GuestMemory
  /**
   * Changes when a translation that was given out may no longer hold. A device that keeps a translation beyond the
   * event it serves compares this first, and translates again when it differs.
   */
  readonly version: number
  /**
   * Appends what `length` bytes from `iova` on come to. False when part of it is not mapped, not permitted or no
   * memory: then nothing is appended, and the space has reported the fault.
   */
  translate(iova: number, length: number, access: number, extents: Extents): boolean
}

/** Addresses are guest-physical: a device without an IOMMU in front. */
export class IdentitySpace implements DmaSpace {
  readonly version = 0

  constructor(readonly memory: GuestMemory) {}

  translate(iova: number, length: number, _access: number, extents: Extents): boolean {
    const count = extents.count
    let at = iova
    let rest = length
    while (rest > 0) {
      const room = this.memory.windowRoom(at)
      if (room === 0) {
        extents.truncate(count)
        return false
      }
      const piece = rest < room ? rest : room
      extents.add(at, piece)
      at += piece
      rest -= piece
    }
    return true
  }
}

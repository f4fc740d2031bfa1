/**
 * A device's view of memory. Every access of a device to guest memory, rings and descriptors included, goes through
 * its DmaSpace: the identity where there is no IOMMU, the endpoint's domain where there is one.
 */
import type { Extents } from './extents.ts'
import type { GuestMemory } from './guest-memory.ts'

/** What the device wants to do with the memory; masks. */
export const Access = { read: 1, write: 2 } as const

/**
 * Who uses translations beyond the event in which it asked for them: a queue with its rings and the chains that it
 * handed out. Ranges are inclusive I/O virtual addresses.
 */
export interface DmaUser {
  /** Whether it keeps a translation of an address in the range. It looks at `version` before it uses one again. */
  keeps(start: number, end: number): boolean
  /**
   * Whether the host may access memory of the range right now in its behalf, such as a disk read under way, by a
   * translation that is older than the present version. Whoever is busy in a range also keeps something there.
   */
  isBusy(start: number, end: number): boolean
}

/** Translates I/O virtual addresses. */
export interface DmaSpace {
  readonly memory: GuestMemory
  /** Whether translations can be taken back; only then users are of interest. */
  readonly isRevocable: boolean
  /**
   * Changes when a translation that was given out may no longer hold. A device that keeps a translation beyond the
   * event it serves compares this first, and translates again when it differs.
   */
  readonly version: number
  /**
   * Appends what `length` bytes from `iova` on come to. False when part of it is not mapped, not permitted or no
   * memory: then nothing is appended, and the space has reported the fault. False also, without a fault, when that
   * takes more look-ups than `extents.budget` has; it is negative then.
   */
  translate(iova: number, length: number, access: number, extents: Extents): boolean
  /** Whoever takes a translation back asks `user` about it, until `removeUser`. */
  addUser(user: DmaUser): void
  removeUser(user: DmaUser): void
  /** A user is less busy than before: somebody may wait for that. */
  released(): void
}

/** Addresses are guest-physical: a device without an IOMMU in front. */
export class IdentitySpace implements DmaSpace {
  readonly version = 0
  readonly isRevocable = false

  constructor(readonly memory: GuestMemory) {}

  addUser(): void {}

  removeUser(): void {}

  released(): void {}

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

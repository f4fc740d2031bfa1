/** A DmaSpace as an IOMMU makes one: pages of I/O virtual addresses, mapped anywhere and with rights. */
import { Access, type DmaSpace, type DmaUser } from '../../src/memory/dma-space.ts'
import type { Extents } from '../../src/memory/extents.ts'
import type { GuestMemory } from '../../src/memory/guest-memory.ts'

export const PAGE_SIZE = 4096

/**
 * Pages in a map. Each page is an extent of its own, even where its neighbour is next to it in memory.
 *
 * @example space.map(0x10_0000, [0x8000, 0x2000]); space.unmap(0x10_0000)
 */
export class PagedSpace implements DmaSpace {
  version = 0
  /** Addresses whose translation failed. */
  readonly faults: number[] = []
  private readonly pages = new Map<number, { readonly address: number; readonly access: number }>()

  readonly isRevocable = true
  /** Whoever registered and is still there. */
  readonly users = new Set<DmaUser>()
  /** How often a user said that it is less busy. */
  releases = 0

  constructor(readonly memory: GuestMemory) {}

  addUser(user: DmaUser): void {
    this.users.add(user)
  }

  removeUser(user: DmaUser): void {
    this.users.delete(user)
  }

  released(): void {
    this.releases++
  }

  /** Maps pages from `iova` on to guest-physical ones. */
  map(iova: number, addresses: readonly number[], access: number = Access.read | Access.write): void {
    addresses.forEach((address, i) => {
      this.pages.set(iova / PAGE_SIZE + i, { address, access })
    })
    this.version++
  }

  /** Forgets the page at `iova`. */
  unmap(iova: number): void {
    this.pages.delete(iova / PAGE_SIZE)
    this.version++
  }

  translate(iova: number, length: number, access: number, extents: Extents): boolean {
    const count = extents.count
    for (let at = iova; at < iova + length; ) {
      const offset = at % PAGE_SIZE
      const page = this.pages.get((at - offset) / PAGE_SIZE)
      if (page === undefined || (page.access & access) !== access) {
        extents.truncate(count)
        this.faults.push(at)
        return false
      }
      const size = Math.min(PAGE_SIZE - offset, iova + length - at)
      extents.add(page.address + offset, size)
      at += size
    }
    return true
  }
}

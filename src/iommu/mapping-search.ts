/** Looks through the mappings of one domain, in the nodes of mapping-nodes.ts. Reads only, and only for their owner. */
import { alignDown } from '../base/bits.ts'
import { Entry, LAST_PAGE, PAGES_OF_DIRECTORY_ENTRY, pagesOf, SLOTS, shiftOf, slotOf } from './mapping-entry.ts'
import type { MappingLookup } from './mapping-lookup.ts'
import { type MappingNodes, NODE_ENTRIES } from './mapping-nodes.ts'
import type { MappingState } from './state.ts'

const PAGE_SIZE = 4096
const DIRECTORY_ENTRIES = 256

/** See above. */
export class MappingSearch {
  constructor(
    private readonly nodes: MappingNodes,
    private readonly directory: number,
    private readonly lookup: MappingLookup,
  ) {}

  /** Whether a page of [start, end] is mapped. */
  overlaps(start: number, end: number): boolean {
    const first = Math.floor(start / PAGE_SIZE)
    const last = Math.min(LAST_PAGE, Math.floor(end / PAGE_SIZE))
    for (
      let high = Math.floor(first / PAGES_OF_DIRECTORY_ENTRY);
      high <= Math.floor(last / PAGES_OF_DIRECTORY_ENTRY);
      high++
    ) {
      const from = Math.max(0, first - high * PAGES_OF_DIRECTORY_ENTRY)
      const to = Math.min(PAGES_OF_DIRECTORY_ENTRY - 1, last - high * PAGES_OF_DIRECTORY_ENTRY)
      if (this.isUsed(this.directory + 2 * high, 0, from, to)) return true
    }
    return false
  }

  /** Up to `limit` mappings from the first that ends at `from` or behind, in the order of addresses. */
  mappings(from: number, limit: number): MappingState[] {
    const { lookup } = this
    const found: MappingState[] = []
    let at = this.firstOf(from)
    while (found.length < limit) {
      const start = this.nextMapped(at)
      if (start === undefined || !lookup.find(start)) break
      const { phys, bits } = lookup
      at = start + lookup.room
      while ((lookup.bits & Entry.last) === 0 && lookup.find(at)) at += lookup.room
      found.push({ start, end: at - 1, phys, flags: bits & Entry.rights })
    }
    return found
  }

  /** Where the mapping of `address` begins, or `address` when there is none. */
  private firstOf(address: number): number {
    const { lookup } = this
    let start = alignDown(address, PAGE_SIZE)
    if (!lookup.find(start)) return address
    for (;;) {
      start -= lookup.place * PAGE_SIZE
      if ((lookup.bits & Entry.first) !== 0) return start
      start -= PAGE_SIZE
      lookup.find(start)
    }
  }

  /** The first page's address from `address` on that is mapped. */
  private nextMapped(address: number): number | undefined {
    const page = Math.ceil(address / PAGE_SIZE)
    for (let high = Math.floor(page / PAGES_OF_DIRECTORY_ENTRY); high < DIRECTORY_ENTRIES; high++) {
      const low = this.nextIn(this.directory + 2 * high, 0, Math.max(0, page - high * PAGES_OF_DIRECTORY_ENTRY))
      if (low >= 0) return (high * PAGES_OF_DIRECTORY_ENTRY + low) * PAGE_SIZE
    }
    return undefined
  }

  /** The first mapped page from `from` on in an entry that begins at page `origin`; -1 if there is none. */
  private nextIn(at: number, origin: number, from: number): number {
    const { words } = this.nodes
    const bits = words[at + 1] as number
    if (bits === 0) return -1
    if ((bits & Entry.child) === 0) {
      const page = (bits & Entry.lone) === 0 ? Math.max(origin, from) : origin + (bits >>> Entry.lonePlace)
      return page >= from ? page : -1
    }
    const node = words[at] as number
    const shift = shiftOf(bits)
    const base = (words[node] as number) >>> 0
    for (let slot = slotOf(from, base, shift); slot < SLOTS; slot++) {
      const slotOrigin = base + slot * pagesOf(shift)
      // A leaf in the first slot may end before `from`.
      const page = this.nextIn(node + NODE_ENTRIES + 2 * slot, slotOrigin, from)
      if (page >= 0 && page < slotOrigin + pagesOf(shift)) return page
    }
    return -1
  }

  /** Whether a page of [from, to] is mapped in an entry that begins at page `origin`, and touches that range. */
  private isUsed(at: number, origin: number, from: number, to: number): boolean {
    const { words } = this.nodes
    const bits = words[at + 1] as number
    if ((bits & Entry.child) === 0) {
      if ((bits & Entry.lone) === 0) return bits !== 0
      const page = origin + (bits >>> Entry.lonePlace)
      return page >= from && page <= to
    }
    const node = words[at] as number
    const shift = shiftOf(bits)
    const base = (words[node] as number) >>> 0
    const size = pagesOf(shift)
    const end = base + SLOTS * size - 1
    if (from > end || to < base) return false
    const firstSlot = slotOf(from, base, shift)
    const lastSlot = slotOf(to, base, shift)
    // At most the first slot and the last one are not wholly in the range, so the work is a few nodes on each level.
    for (let slot = firstSlot; slot <= lastSlot; slot++)
      if (this.isUsed(node + NODE_ENTRIES + 2 * slot, base + slot * size, from, to)) return true
    return false
  }
}

/**
 * The mappings of one domain, in a radix tree (mapping-nodes.ts). A mapping is as many entries as it takes aligned
 * powers of 16 pages to make it up: one for 4 KiB, 64 KiB, 1 MiB or 16 MiB, two for 2 MiB, at most some hundred.
 *
 * Writes only; lookup and search read. Other threads may read at the same time (mapping-reader.ts).
 */
import { isAligned } from '../base/bits.ts'
import {
  DIRECTORY_SHIFT,
  Entry,
  LAST_PAGE,
  LONE_SHIFT,
  PAGES_OF_DIRECTORY_ENTRY,
  pagesOf,
  SLOTS,
  shiftOf,
  slotOf,
} from './mapping-entry.ts'
import { MappingLookup } from './mapping-lookup.ts'
import { type MappingNodes, NODE_ENTRIES } from './mapping-nodes.ts'
import type { SharedMappings } from './mapping-reader.ts'
import { MappingSearch } from './mapping-search.ts'

/** What became of an `insert`. */
export const Insertion = { ok: 0, overlap: 1, full: 2 } as const

const PAGE_SIZE = 4096
/** Behind the last address. */
const ADDRESS_END = 2 ** 52
/** In a node's second word: how many entries are not empty. */
const COUNT = 8
/** What is left of a lone page's bits without its place. */
const PLACELESS = 0xffff & ~Entry.lone
/** Nodes that a mapping may take: one page, or two runs of entries on each of nine levels. */
const NODES_OF_PAGE = 2
const NODES_OF_RANGE = 48

/** See above. */
export class MappingTable {
  /** Mappings, and what they come to. */
  count = 0
  bytes = 0
  /** What an address is mapped to. */
  readonly lookup: MappingLookup
  /** What is mapped in a range. */
  readonly search: MappingSearch
  /** What `prune` has removed. */
  private pagesRemoved = 0
  private mappingsRemoved = 0

  constructor(
    private readonly nodes: MappingNodes,
    readonly directory: number,
  ) {
    this.lookup = new MappingLookup(nodes, directory)
    this.search = new MappingSearch(nodes, directory, this.lookup)
  }

  /** For readers in other threads. */
  get shared(): SharedMappings {
    return { shared: this.nodes.shared, directory: this.directory }
  }

  /** No mapping may fit any more, whatever the limits. */
  get isFull(): boolean {
    return !this.nodes.prepare(NODES_OF_RANGE)
  }

  /** Maps whole pages from `start` to `end` inclusive. Changes nothing unless it is `ok`. */
  insert(start: number, end: number, phys: number, rights: number): number {
    const { nodes } = this
    const first = start / PAGE_SIZE
    const count = (end + 1 - start) / PAGE_SIZE
    const isPage = count === 1
    if (isPage ? this.lookup.find(start) : this.search.overlaps(start, end)) return Insertion.overlap
    if (!nodes.prepare(isPage ? NODES_OF_PAGE : NODES_OF_RANGE)) return Insertion.full
    nodes.begin()
    const bits = (rights & Entry.rights) | Entry.leaf
    if (isPage) this.place(first, 0, 1, phys / PAGE_SIZE, bits | Entry.first | Entry.last)
    else this.placeRange(first, count, phys / PAGE_SIZE, bits)
    nodes.end()
    this.count++
    this.bytes += count * PAGE_SIZE
    return Insertion.ok
  }

  /** Removes all mappings in [start, end], and returns how many; -1 and none if one of them reaches out of it. */
  remove(start: number, end: number): number {
    const { nodes } = this
    const isMapped = this.lookup.find(start)
    if (isMapped && !(isAligned(start, PAGE_SIZE) && this.beginsHere())) return -1
    const first = Math.ceil(start / PAGE_SIZE)
    const last = Math.min(LAST_PAGE, Math.floor((end + 1) / PAGE_SIZE) - 1)
    if (!isMapped && Math.floor(start / PAGE_SIZE) === Math.floor(end / PAGE_SIZE)) return 0
    if (this.lookup.find(end) && !this.endsHere()) return -1
    if (first > last) return 0
    this.pagesRemoved = 0
    this.mappingsRemoved = 0
    nodes.begin()
    const lastHigh = Math.floor(last / PAGES_OF_DIRECTORY_ENTRY)
    for (let high = Math.floor(first / PAGES_OF_DIRECTORY_ENTRY); high <= lastHigh; high++) {
      const from = Math.max(0, first - high * PAGES_OF_DIRECTORY_ENTRY)
      const to = Math.min(PAGES_OF_DIRECTORY_ENTRY - 1, last - high * PAGES_OF_DIRECTORY_ENTRY)
      this.prune(this.directory + 2 * high, DIRECTORY_SHIFT, 0, from, to)
    }
    nodes.end()
    this.count -= this.mappingsRemoved
    this.bytes -= this.pagesRemoved * PAGE_SIZE
    return this.mappingsRemoved
  }

  /** Removes all. */
  clear(): void {
    this.remove(0, ADDRESS_END - 1)
  }

  /** After a `find` that found something: whether a mapping begins at its page, or ends at its last byte. */
  private beginsHere(): boolean {
    return this.lookup.place === 0 && (this.lookup.bits & Entry.first) !== 0
  }

  private endsHere(): boolean {
    return this.lookup.room === 1 && (this.lookup.bits & Entry.last) !== 0
  }

  /** Makes the entries of a mapping of more than one page. */
  private placeRange(first: number, count: number, physFirst: number, bits: number): void {
    let page = first
    let phys = physFirst
    let rest = count
    let begins: number = Entry.first
    while (rest > 0) {
      let shift = 0
      let size = 1
      while (shift < DIRECTORY_SHIFT && isAligned(page, size * SLOTS) && rest >= size * SLOTS) {
        shift += 4
        size *= SLOTS
      }
      const slots = shift === DIRECTORY_SHIFT ? 1 : SLOTS - ((page / size) % SLOTS)
      const run = Math.min(slots, Math.floor(rest / size))
      page += run * size
      rest -= run * size
      this.place(page - run * size, shift, run, phys, bits | begins | (rest === 0 ? Entry.last : 0))
      phys += run * size
      begins = 0
    }
  }

  /**
   * Fills `run` entries of 2^shift pages each, all of one node, with consecutive physical pages; nothing is mapped
   * there. Entry.first is for the first of them, Entry.last for the last one.
   */
  private place(first: number, shift: number, run: number, phys: number, bits: number): void {
    const { nodes } = this
    const { words } = nodes
    const high = Math.floor(first / PAGES_OF_DIRECTORY_ENTRY)
    const page = (first - high * PAGES_OF_DIRECTORY_ENTRY) | 0
    const isLone = run === 1 && shift === 0
    let at = this.directory + 2 * high
    let entryShift: number = DIRECTORY_SHIFT
    let parent = 0
    for (;;) {
      const entry = words[at + 1] as number
      if (entry === 0) {
        if (entryShift === shift || (isLone && entryShift <= LONE_SHIFT)) break
        const below = isLone ? LONE_SHIFT : shift
        this.link(at, nodes.take(page, below), below)
        this.countEntries(parent, 1)
      } else if ((entry & Entry.child) === 0) {
        this.expand(at, entryShift, page)
      } else {
        const node = words[at] as number
        const below = shiftOf(entry)
        const differing = page ^ (words[node] as number)
        if ((differing >>> below) >>> 4 !== 0) {
          this.insertAbove(at, node, below, page, topShift(differing))
        } else {
          parent = node
          entryShift = below
          at = node + NODE_ENTRIES + 2 * ((page >>> below) & 15)
        }
      }
    }
    this.countEntries(parent, run)
    if (entryShift !== shift) {
      this.fill(at, phys, bits | Entry.lone | (placeOf(page, entryShift) << Entry.lonePlace))
      return
    }
    for (let i = 0; i < run; i++) {
      const begins = i === 0 ? bits : bits & ~Entry.first
      this.fill(at + 2 * i, phys + i * pagesOf(shift), i === run - 1 ? begins : begins & ~Entry.last)
    }
  }

  private fill(at: number, phys: number, bits: number): void {
    const { words } = this.nodes
    const high = Math.floor(phys / PAGES_OF_DIRECTORY_ENTRY)
    words[at] = phys - high * PAGES_OF_DIRECTORY_ENTRY
    words[at + 1] = bits | (high << Entry.physHigh)
  }

  private link(at: number, node: number, shift: number): void {
    const { words } = this.nodes
    words[at] = node
    words[at + 1] = Entry.child | (shift << Entry.shift)
  }

  /** `node` may be 0 for a directory, whose entries are not counted. */
  private countEntries(node: number, more: number): void {
    const { words } = this.nodes
    if (node !== 0) words[node + 1] = (words[node + 1] as number) + (more << COUNT)
  }

  /** Makes a node with the lone page of an entry, in which there is a place for `page`. */
  private expand(at: number, entryShift: number, page: number): void {
    const { words } = this.nodes
    const bits = words[at + 1] as number
    const other = (page & -pagesOf(entryShift)) | (bits >>> Entry.lonePlace)
    const shift = topShift(page ^ other)
    const node = this.nodes.take(page, shift)
    const slot = node + NODE_ENTRIES + 2 * ((other >>> shift) & 15)
    words[slot] = words[at] as number
    const lone = shift === 0 ? 0 : Entry.lone | (placeOf(other, shift) << Entry.lonePlace)
    words[slot + 1] = (bits & PLACELESS) | lone
    this.countEntries(node, 1)
    this.link(at, node, shift)
  }

  /** Makes a node above another one, with a place for `page`, which the other one is not for. */
  private insertAbove(at: number, other: number, otherShift: number, page: number, shift: number): void {
    const node = this.nodes.take(page, shift)
    const base = this.nodes.words[other] as number
    this.link(node + NODE_ENTRIES + 2 * ((base >>> shift) & 15), other, otherShift)
    this.countEntries(node, 1)
    this.link(at, node, shift)
  }

  /** Removes what is mapped of [from, to] in an entry of 2^shift pages from `origin` on; no mapping reaches out of it. */
  private prune(at: number, entryShift: number, origin: number, from: number, to: number): void {
    const { words } = this.nodes
    const bits = words[at + 1] as number
    if ((bits & Entry.child) !== 0) {
      this.pruneNode(at, entryShift, words[at] as number, shiftOf(bits), from, to)
      return
    }
    if (bits === 0) return
    if ((bits & Entry.lone) !== 0) {
      const page = origin + (bits >>> Entry.lonePlace)
      if (page < from || page > to) return
      this.pagesRemoved++
    } else this.pagesRemoved += pagesOf(entryShift)
    if ((bits & Entry.last) !== 0) this.mappingsRemoved++
    words[at] = 0
    words[at + 1] = 0
  }

  private pruneNode(at: number, entryShift: number, node: number, shift: number, from: number, to: number): void {
    const { words } = this.nodes
    const base = (words[node] as number) >>> 0
    const size = pagesOf(shift)
    if (from > base + (SLOTS * size - 1) || to < base) return
    const lastSlot = slotOf(to, base, shift)
    let removed = 0
    for (let slot = slotOf(from, base, shift); slot <= lastSlot; slot++) {
      const entry = node + NODE_ENTRIES + 2 * slot
      if (words[entry + 1] === 0) continue
      this.prune(entry, shift, base + slot * size, from, to)
      if (words[entry + 1] === 0) removed++
    }
    if (removed === 0) return
    this.countEntries(node, -removed)
    const count = (words[node + 1] as number) >> COUNT
    if (count === 0) {
      words[at] = 0
      words[at + 1] = 0
      this.nodes.release(node)
    } else if (count === 1) this.dissolve(at, entryShift, node, shift)
  }

  /** Puts the only entry of a node in its place, if it can stand there. */
  private dissolve(at: number, entryShift: number, node: number, shift: number): void {
    const { words } = this.nodes
    let slot = 0
    while (words[node + NODE_ENTRIES + 2 * slot + 1] === 0) slot++
    const entry = node + NODE_ENTRIES + 2 * slot
    let bits = words[entry + 1] as number
    if ((bits & Entry.child) === 0) {
      const isPage = shift === 0 || (bits & Entry.lone) !== 0
      if (!isPage || entryShift > LONE_SHIFT) return
      const page = ((words[node] as number) + slot * pagesOf(shift)) | (bits >>> Entry.lonePlace)
      bits = (bits & PLACELESS) | Entry.lone | (placeOf(page, entryShift) << Entry.lonePlace)
    }
    words[at] = words[entry] as number
    words[at + 1] = bits
    words[entry] = 0
    words[entry + 1] = 0
    this.nodes.release(node)
  }
}

/** Where a page is in an entry of 2^shift pages, with `shift` at most LONE_SHIFT. */
function placeOf(page: number, shift: number): number {
  return page & (pagesOf(shift) - 1)
}

/** The shift of the node that has places for two pages, by the bits in which they differ. */
function topShift(differing: number): number {
  return (31 - Math.clz32(differing)) & ~3
}

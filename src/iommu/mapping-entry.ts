/**
 * The entries of directories and nodes (mapping-nodes.ts).
 *
 * An entry is two words: `low`, and one with the bits of `Entry`; both are 0 if it is empty.
 *
 *   leaf        `low` and Entry.physHigh: the number of the physical page that its first page is mapped to
 *   lone leaf   the same for a single page, at Entry.lonePlace in the entry's range; the rest is empty
 *   child       `low`: where the node is; Entry.shift: that node's shift. It has all that is in the entry's range, but
 *               may itself be for a part of it: nodes with a single entry are left out where that is possible
 */

/** Bits of an entry's second word; the lowest three are those of `MapFlag`. */
export const Entry = {
  rights: 0x7,
  /** Its mapping begins, or ends, with this entry: mappings that touch stay apart. */
  first: 0x8,
  last: 0x10,
  leaf: 0x20,
  child: 0x40,
  lone: 0x80,
  /** Shifts: bits 32-39 of a physical page's number, and a node's shift, in 8 bits; the place of a lone page in 16. */
  physHigh: 8,
  shift: 8,
  lonePlace: 16,
} as const

/** The largest shift of an entry whose pages 16 bits can tell apart. */
export const LONE_SHIFT = 16
/** Of a directory's entries. */
export const DIRECTORY_SHIFT = 32
/** A directory's entry is for so many pages: their numbers inside it are unsigned 32-bit ones. */
export const PAGES_OF_DIRECTORY_ENTRY = 2 ** 32
export const LAST_PAGE = 2 ** 40 - 1
/** Entries of a node. */
export const SLOTS = 16

/** Of the node that a child entry is for. */
export function shiftOf(bits: number): number {
  return (bits >>> Entry.shift) & 0xff
}

/** 2^shift; `**` would take longer than all the rest. */
export function pagesOf(shift: number): number {
  return shift === DIRECTORY_SHIFT ? PAGES_OF_DIRECTORY_ENTRY : 1 << shift
}

/** The slot of a node from page `base` on that `page` is in, or the nearest one. */
export function slotOf(page: number, base: number, shift: number): number {
  const distance = page - base
  if (distance <= 0) return 0
  return distance >= SLOTS * pagesOf(shift) ? SLOTS - 1 : distance >>> shift
}

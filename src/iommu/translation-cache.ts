/**
 * Pages that an endpoint translated lately: rings and headers are looked at again and again, and this costs a fifth of
 * a look into the mappings. Has only pages that are RAM as a whole and touch no reserved region.
 *
 * It dies with the mapping: `forget` comes before anybody may rely on a mapping's absence.
 */
import { alignDown } from '../base/bits.ts'

const PAGE_SIZE = 4096
const PAGE_MASK = PAGE_SIZE - 1
const SLOTS = 1024
/** From here on it is faster to forget all than to look for each page. */
const MANY_PAGES = 64
/** Addresses are split into two numbers of at most 31 bits, with which arithmetic is fast. */
const LOW_SIZE = 2 ** 28
const NO_PAGE = -1

/** See above. */
export class TranslationCache {
  /** Addresses of pages. */
  private readonly pages = new Float64Array(SLOTS).fill(NO_PAGE)
  private readonly physPages = new Float64Array(SLOTS)
  private readonly rights = new Int32Array(SLOTS)

  /**
   * The guest-physical address of `length` bytes (at least 1) from `iova` on, if they are in one page that is here, with
   * the rights of `access`; else -1.
   */
  find(iova: number, length: number, access: number): number {
    const low = lowOf(iova)
    const offset = low & PAGE_MASK
    const slot = slotOf(low)
    if (this.pages[slot] !== iova - offset) return -1
    if (((this.rights[slot] as number) & access) !== access || offset + length > PAGE_SIZE) return -1
    return (this.physPages[slot] as number) + offset
  }

  /** The page of `iova` is at `phys`, both addresses of bytes in it; `rights` are of `MapFlag`. */
  add(iova: number, phys: number, rights: number): void {
    const page = alignDown(iova, PAGE_SIZE)
    const slot = slotOf(lowOf(page))
    this.pages[slot] = page
    this.physPages[slot] = phys - (iova - page)
    this.rights[slot] = rights
  }

  /** Addresses in [start, end] may translate to something else from now on. */
  forget(start: number, end: number): void {
    if (end - start >= MANY_PAGES * PAGE_SIZE) {
      this.pages.fill(NO_PAGE)
      return
    }
    for (let page = alignDown(start, PAGE_SIZE); page <= end; page += PAGE_SIZE) {
      const slot = slotOf(lowOf(page))
      if (this.pages[slot] === page) this.pages[slot] = NO_PAGE
    }
  }
}

function lowOf(address: number): number {
  return (address - ((address / LOW_SIZE) | 0) * LOW_SIZE) | 0
}

/** Of a page by the lower bits of its address. Pages far apart often differ in the upper ones of them only. */
function slotOf(low: number): number {
  return ((low >>> 12) ^ (low >>> 21)) & (SLOTS - 1)
}

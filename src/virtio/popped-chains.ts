/**
 * The chains of one queue that a device has popped and neither pushed nor given back, from the newest to the oldest: a
 * list through the chains themselves, so that keeping it costs a few stores. Only kept where an IOMMU may ask for it.
 */
import type { Chain } from './queue.ts'

/** See above. */
export class PoppedChains {
  private newest: Chain | undefined

  /** A chain was popped, and translated with `version`. Whatever list it was in, of a queue that broke or was reset, it leaves. */
  add(chain: Chain, version: number): void {
    chain.list?.remove(chain)
    chain.version = version
    chain.list = this
    chain.older = this.newest
    chain.newer = undefined
    if (this.newest !== undefined) this.newest.newer = chain
    this.newest = chain
  }

  /** It was pushed; nothing happens if it is not in this list. */
  remove(chain: Chain): void {
    if (chain.list !== this) return
    const { older, newer } = chain
    if (newer === undefined) this.newest = older
    else newer.older = older
    if (older !== undefined) older.newer = newer
    chain.list = undefined
    chain.older = undefined
    chain.newer = undefined
  }

  /** The last `count` popped chains were given back. */
  rewind(count: number): void {
    for (let i = 0; i < count && this.newest !== undefined; i++) this.remove(this.newest)
  }

  /** Whether a buffer of one of them has an address in [start, end]. */
  overlap(start: number, end: number): boolean {
    for (let chain = this.newest; chain !== undefined; chain = chain.older)
      if (chain.ranges.overlap(start, end)) return true
    return false
  }

  /**
   * The same, of those that the host works on with another version than the present one: what was popped after
   * translations were taken back uses none of these, and must not hold up those who took them.
   */
  hasOutdated(start: number, end: number, version: number): boolean {
    for (let chain = this.newest; chain !== undefined; chain = chain.older)
      if (chain.isPinned && chain.version !== version && chain.ranges.overlap(start, end)) return true
    return false
  }
}

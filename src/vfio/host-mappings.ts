/** What a container maps, kept in step with the host's own table, and counted. */
import { EIO, ENOSPC } from '../host/errno.ts'
import { smallestPage } from './container-info.ts'
import type { DmaPort } from './dma-port.ts'
import { IovaList } from './iova-list.ts'

/** Memory of this process at some address of a device's. */
export interface HostMapping {
  readonly size: number
  readonly hostAddress: number
  /** VFIO_DMA_MAP_FLAG_*. */
  readonly flags: number
  /** Memory of another device, which is not pinned; else guest RAM. */
  readonly isPeer: boolean
}

/** See above. Calls answer 0 or a negative errno. */
export class HostMappings {
  /** Everything that is mapped is a multiple of it. */
  readonly page: number
  mapCalls = 0
  unmapCalls = 0
  pinnedBytes = 0
  /** The host turned out to map something else than the list says. */
  private isAstray = false
  private readonly list: IovaList<HostMapping>

  constructor(private readonly port: DmaPort) {
    this.page = smallestPage(port.info.pageSizes)
    this.list = new IovaList(this.page)
  }

  get count(): number {
    return this.list.count
  }

  /** Those in [start, end], both inclusive, rounded inward to pages. */
  within(start: number, end: number): readonly (readonly [number, HostMapping])[] {
    const from = Math.ceil(start / this.page) * this.page
    const to = Math.floor((end + 1) / this.page) * this.page
    return to > from ? this.list.within(from, to) : []
  }

  put(iova: number, mapping: HostMapping): number {
    const { limit } = this.port.info
    if (limit !== undefined && this.count >= limit) return -ENOSPC
    this.mapCalls++
    const result = this.port.map(iova, mapping.size, mapping.hostAddress, mapping.flags)
    if (result < 0) return result
    this.list.set(iova, mapping)
    if (!mapping.isPeer) this.pinnedBytes += mapping.size
    return 0
  }

  /** Takes away what `within` shows; when the host refuses, part of it may be there still. */
  remove(start: number, end: number): number {
    const found = this.within(start, end)
    const [only] = found
    if (only === undefined) return 0
    if (found.length === 1) return this.unmap(only[0], only[0] + only[1].size, found)
    let first = Number.POSITIVE_INFINITY
    let last = 0
    for (const [iova, { size }] of found) {
      first = Math.min(first, iova)
      last = Math.max(last, iova + size)
    }
    return this.unmap(first, last, found)
  }

  /** Takes everything away, whatever the list knows; a negative errno: the host keeps some of it. */
  clear(): number {
    if (!this.isAstray && this.remove(0, Number.MAX_SAFE_INTEGER) >= 0) return 0
    this.forget()
    let worst = 0
    for (const { start, end } of this.port.info.usable) {
      const from = Math.ceil(start / this.page) * this.page
      const to = Math.floor((end + 1) / this.page) * this.page
      this.unmapCalls++
      worst = Math.min(worst, to > from ? this.port.unmap(from, to - from) : 0)
    }
    this.isAstray = worst < 0
    return worst
  }

  /** The host has taken everything away by itself. */
  forget(): void {
    this.list.clear()
    this.pinnedBytes = 0
    this.isAstray = false
  }

  private unmap(from: number, to: number, gone: readonly (readonly [number, HostMapping])[]): number {
    this.unmapCalls++
    const result = this.port.unmap(from, to - from)
    if (result < 0) return result
    let bytes = 0
    for (const [iova, { size, isPeer }] of gone) {
      this.list.delete(iova)
      bytes += size
      if (!isPeer) this.pinnedBytes -= size
    }
    if (result === bytes) return 0
    this.isAstray = true
    return -EIO
  }
}

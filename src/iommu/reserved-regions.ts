/** The reserved regions of one endpoint. VIRTIO 1.2 §5.13.6.8.1. */
import { assert } from '../base/errors.ts'
import type { ReservedRegion } from './reserved-region.ts'

/** See above. */
export class ReservedRegions {
  private readonly regions: readonly ReservedRegion[]

  constructor(regions: readonly ReservedRegion[]) {
    this.regions = regions.toSorted((a, b) => a.start - b.start)
    const areApart = this.regions.every((region, i) => i === 0 || region.start > (this.regions[i - 1]?.end ?? 0))
    assert(areApart, 'reserved regions of an endpoint do not overlap')
    assert(this.regions.filter(({ kind }) => kind === 'msi').length <= 1, 'an endpoint has one region for MSIs')
  }

  /** The first region with an address in [start, end]. */
  first(start: number, end: number): ReservedRegion | undefined {
    const { regions } = this
    for (let i = 0; i < regions.length; i++) {
      const region = regions[i] as ReservedRegion
      if (start <= region.end && end >= region.start) return region
    }
    return undefined
  }
}

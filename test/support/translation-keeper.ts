/**
 * A device that keeps translations for as long as its space's version stays, and random requests to the IOMMU meanwhile:
 * none of the translations that it may still use, or that it gets, may be one that the mappings do not give.
 */
import type { Endpoint } from '../../src/iommu/endpoint.ts'
import type { Iommu } from '../../src/iommu/iommu.ts'
import { MapFlag } from '../../src/iommu/mapping-flags.ts'
import type { DmaUser } from '../../src/memory/dma-space.ts'
import { DISK, iommuCore, NET, reach } from './iommu-core.ts'
import { Random } from './random.ts'

const PAGE_SIZE = 4096
const PAGES = 24
const MOST_KEPT = 6

interface Kept {
  readonly iova: number
  readonly length: number
  readonly access: number
  /** Guest-physical addresses of the first byte and of those where pages begin. */
  readonly places: readonly number[]
}

/** A device of an endpoint. */
class Keeper implements DmaUser {
  private kept: readonly Kept[] = []
  private version = 0

  constructor(private readonly endpoint: Endpoint) {
    endpoint.space.addUser(this)
  }

  keeps(start: number, end: number): boolean {
    return this.kept.some(({ iova, length }) => iova <= end && iova + length > start)
  }

  isBusy(): boolean {
    return false
  }

  /** How many translations it may still use. */
  get count(): number {
    return this.endpoint.space.version === this.version ? this.kept.length : 0
  }

  /** Gets one more, in the place of the oldest one; or none where it may not. */
  translate(random: Random): void {
    const iova = random.below(PAGES * PAGE_SIZE)
    const length = 1 + random.below(2 * PAGE_SIZE)
    const access = 1 + random.below(3)
    const extents = reach(this.endpoint, iova, length, access)
    if (this.count === 0) this.kept = []
    this.version = this.endpoint.space.version
    if (extents === undefined) return
    const places = edges(iova, length).map(address => placeOf(extents, address - iova))
    this.kept = [...this.kept, { iova, length, access, places }].slice(-MOST_KEPT)
  }

  /** Translations that it may use, and that the mappings do not give. */
  stale(): readonly Kept[] {
    if (this.count === 0) return []
    return this.kept.filter(({ iova, length, access, places }) =>
      edges(iova, length).some((address, i) => given(this.endpoint, address, access) !== places[i]),
    )
  }
}

/** Addresses in a range: the first one and the first one of each further page. */
function edges(iova: number, length: number): readonly number[] {
  const pages = Math.floor((iova + length - 1) / PAGE_SIZE) - Math.floor(iova / PAGE_SIZE)
  const next = (Math.floor(iova / PAGE_SIZE) + 1) * PAGE_SIZE
  return [iova, ...Array.from({ length: pages }, (_, i) => next + i * PAGE_SIZE)]
}

/** Where byte `offset` of a translated range is. */
function placeOf(extents: readonly (readonly [number, number])[], offset: number): number {
  let rest = offset
  for (const [start, length] of extents) {
    if (rest < length) return start + rest
    rest -= length
  }
  return Number.NaN
}

/** What an address comes to by the list of mappings; undefined if it may not be accessed. */
function given({ domain, space }: Endpoint, address: number, access: number): number | undefined {
  if (space.treatment === 'bypass') return address
  const mapping = domain?.mappings(0, 1000).find(({ start, end }) => start <= address && end >= address)
  if (mapping === undefined || (mapping.flags & access) !== access) return undefined
  return mapping.phys + address - mapping.start
}

export interface Keeping {
  /** In words. */
  readonly stale: readonly string[]
  /** Looks at kept translations that were still good: there should be many. */
  readonly good: number
}

/** Does `count` random requests. */
export function keepTranslations(seed: number, count: number): Keeping {
  const random = new Random(seed)
  const { iommu, disk, net } = iommuCore({ bypass: random.below(2) === 0 })
  const keepers = [new Keeper(disk), new Keeper(net), new Keeper(disk)]
  const stale: string[] = []
  let good = 0
  for (let i = 0; i < count; i++) {
    const request = change(iommu, random)
    // With a new translation, which has to be right as well.
    for (const keeper of keepers) {
      keeper.translate(random)
      for (const { iova, length } of keeper.stale()) stale.push(`${iova}+${length} after ${request}`)
      good += keeper.count
    }
  }
  return { stale, good }
}

/** Says what it did. */
function change(iommu: Iommu, random: Random): string {
  const endpoint = random.below(2) === 0 ? DISK : NET
  const domain = 1 + random.below(3)
  const page = random.below(PAGES)
  const [start, end] = [page * PAGE_SIZE, (page + 1 + random.below(3)) * PAGE_SIZE - 1]
  const kind = random.below(40)
  if (kind < 20) {
    const flags = random.below(4) === 0 ? MapFlag.read : MapFlag.read | MapFlag.write
    iommu.map(domain, start, end, random.below(32) * PAGE_SIZE, flags)
    return `MAP in ${domain}, ${start}-${end}`
  }
  if (kind < 34) {
    iommu.unmap(domain, start, end, () => {})
    return `UNMAP in ${domain}, ${start}-${end}`
  }
  if (kind < 37) {
    iommu.attach(endpoint, domain, random.below(4) === 0, () => {})
    return `ATTACH of ${endpoint} to ${domain}`
  }
  if (kind < 38) {
    iommu.detach(endpoint, domain, () => {})
    return `DETACH of ${endpoint} from ${domain}`
  }
  if (kind < 39) {
    iommu.bypass = random.below(2) === 0
    return `bypass = ${iommu.bypass}`
  }
  iommu.reset(() => {})
  return 'reset'
}

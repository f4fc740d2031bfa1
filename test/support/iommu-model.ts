/**
 * What the specification says of the IOMMU, in as few words as possible: domains with lists of mappings, and the status of
 * each request. For comparison with the device.
 */
import {
  attachRequest,
  DISK,
  detachRequest,
  type IommuDevice,
  MSI,
  mapRequest,
  NET,
  unmapRequest,
} from './iommu-device.ts'
import { Random } from './random.ts'

const [OK, UNSUPP, INVAL, RANGE, NOENT, NOMEM] = [0, 2, 4, 5, 6, 8]
const PAGE = 0x1000
const PHYS_SIZE = 2 ** 52

interface Mapping {
  readonly start: number
  readonly end: number
  readonly phys: number
  readonly flags: number
}

interface ModelDomain {
  readonly bypass: boolean
  readonly mappings: readonly Mapping[]
}

const overlaps = (a: { start: number; end: number }, b: { start: number; end: number }) =>
  a.start <= b.end && b.start <= a.end
const isAligned = (...addresses: readonly number[]) => addresses.every(address => address % PAGE === 0)

/** The specification. VIRTIO 1.2 §5.13.6. */
export class IommuModel {
  private readonly domains = new Map<number, ModelDomain>()
  private readonly attached = new Map<number, number>()

  /** `reserved`: regions of each endpoint. */
  constructor(
    private readonly reserved: ReadonlyMap<number, readonly { start: number; end: number }[]>,
    private readonly inputEnd: number,
    private readonly limit: number,
  ) {}

  attach(id: number, endpoint: number, flags: number): number {
    const regions = this.reserved.get(endpoint)
    const bypass = flags === 1
    if (flags > 1) return INVAL
    if (regions === undefined) return NOENT
    const domain = this.domains.get(id) ?? { bypass, mappings: [] }
    if (domain.bypass !== bypass) return INVAL
    if (domain.mappings.some(mapping => regions.some(region => overlaps(region, mapping)))) return UNSUPP
    if (this.attached.get(endpoint) === id) return OK
    this.leave(endpoint)
    this.domains.set(id, domain)
    this.attached.set(endpoint, id)
    return OK
  }

  detach(id: number, endpoint: number): number {
    if (!this.reserved.has(endpoint)) return NOENT
    if (this.attached.get(endpoint) !== id) return INVAL
    this.leave(endpoint)
    return OK
  }

  map(id: number, mapping: Mapping): number {
    const { start, end, phys, flags } = mapping
    const domain = this.domains.get(id)
    if (flags > 7) return INVAL
    if (domain === undefined) return NOENT
    if (domain.bypass || end < start) return INVAL
    if (!isAligned(start, end + 1, phys) || end > this.inputEnd) return RANGE
    const regions = [...this.attached]
      .filter(([, of]) => of === id)
      .flatMap(([endpoint]) => this.reserved.get(endpoint)!)
    if (phys + (end - start) >= PHYS_SIZE) return INVAL
    if ([...regions, ...domain.mappings].some(other => overlaps(other, mapping))) return INVAL
    if (domain.mappings.length === this.limit) return NOMEM
    const mappings = [...domain.mappings, mapping].toSorted((a, b) => a.start - b.start)
    this.domains.set(id, { ...domain, mappings })
    return OK
  }

  unmap(id: number, range: { readonly start: number; readonly end: number }): number {
    const domain = this.domains.get(id)
    if (domain === undefined) return NOENT
    if (domain.bypass || range.end < range.start) return INVAL
    const met = domain.mappings.filter(mapping => overlaps(mapping, range))
    if (met.some(({ start, end }) => start < range.start || end > range.end)) return RANGE
    this.domains.set(id, { ...domain, mappings: domain.mappings.filter(mapping => !met.includes(mapping)) })
    return OK
  }

  /** As `observe` gives it. */
  get state(): string {
    const domains = [...this.domains].map(([id, { bypass, mappings }]) => [id, bypass, mappings] as const)
    return JSON.stringify([domains.toSorted(([a], [b]) => a - b), [...this.attached].toSorted(([a], [b]) => a - b)])
  }

  private leave(endpoint: number): void {
    const id = this.attached.get(endpoint)
    this.attached.delete(endpoint)
    if (id !== undefined && ![...this.attached.values()].includes(id)) this.domains.delete(id)
  }
}

/** The device's state in the same form. */
function observe({ iommu }: IommuDevice): string {
  const { domains, endpoints } = iommu.state()
  const all = domains.map(({ id, bypass }) => {
    const mappings = iommu.domain(id)?.mappings(0, 1000) ?? []
    return [id, bypass, mappings.map(({ start, end, phys, flags }) => ({ start, end, phys, flags }))] as const
  })
  const attached = endpoints.filter(({ domain }) => domain !== null).map(({ id, domain }) => [id, domain] as const)
  return JSON.stringify([all.toSorted(([a], [b]) => a - b), attached.toSorted(([a], [b]) => a - b)])
}

/** Random requests, to the device and to the model. */
export class IommuComparison {
  /** How often each status was given. */
  readonly statuses: Record<number, number> = {}
  private readonly random: Random
  private readonly model: IommuModel

  constructor(
    private readonly bench: IommuDevice,
    seed: number,
  ) {
    this.random = new Random(seed)
    const { input, limits } = bench.iommu.options
    const reserved = new Map([DISK, NET].map(id => [id, bench.iommu.endpoint(id)!.reserved] as const))
    this.model = new IommuModel(reserved, input.end, limits.domain)
  }

  /** Throws at the first request that the two see differently. */
  run(requests: number): void {
    for (let i = 0; i < requests; i++) {
      const { bytes, expected, text } = this.next()
      const { status = -1 } = this.bench.send(bytes)
      this.statuses[status] = (this.statuses[status] ?? 0) + 1
      if (status !== expected) throw new Error(`request ${i}, ${text}: status ${status}, not ${expected}`)
      const [is, should] = [observe(this.bench), this.model.state]
      if (is !== should) throw new Error(`request ${i}, ${text}: the state is ${is}, not ${should}`)
    }
  }

  private next(): { readonly bytes: Uint8Array; readonly expected: number; readonly text: string } {
    const { random, model } = this
    const domain = random.below(12) === 0 ? 3 : random.below(4) === 0 ? 2 : 1
    const endpoint = random.below(30) === 0 ? 0x18 : ([DISK, NET][random.below(2)] as number)
    const start = this.address()
    const pages = random.below(8) === 0 ? 2 ** random.below(20) : 1 + random.below(4)
    const end = Math.max(0, start + pages * PAGE - 1 + this.oddity())
    const phys = random.below(30) === 0 ? PHYS_SIZE - PAGE : random.below(2 ** 20) * PAGE + this.oddity()
    const choice = random.below(80)
    if (choice < 6) {
      const flags = random.below(4) === 0 ? random.below(3) : 0
      const text = `ATTACH ${endpoint} to ${domain} with ${flags}`
      return { bytes: attachRequest(domain, endpoint, flags), expected: model.attach(domain, endpoint, flags), text }
    }
    if (choice === 6) {
      const expected = model.detach(domain, endpoint)
      return { bytes: detachRequest(domain, endpoint), expected, text: `DETACH ${endpoint} from ${domain}` }
    }
    if (choice < 50) {
      const flags = random.below(20) === 0 ? 8 : random.below(8)
      const text = `MAP ${start}-${end} to ${phys} with ${flags} in ${domain}`
      const expected = model.map(domain, { start, end, phys, flags })
      return { bytes: mapRequest(domain, start, end, phys, flags), expected, text }
    }
    const expected = model.unmap(domain, { start, end })
    return { bytes: unmapRequest(domain, start, end), expected, text: `UNMAP ${start}-${end} in ${domain}` }
  }

  private address(): number {
    const { random } = this
    if (random.below(20) > 0) return random.below(64) * PAGE + this.oddity()
    const { input } = this.bench.iommu.options
    const edges = [MSI.start - PAGE, MSI.start, MSI.end + 1, input.end + 1 - PAGE, input.end + 1, 2 ** 21, 2 ** 30]
    return edges[random.below(edges.length)] as number
  }

  private oddity(): number {
    return this.random.below(40) === 0 ? this.random.below(PAGE) : 0
  }
}

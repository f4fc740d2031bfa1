import { describe, expect, it } from 'vitest'
import { hex, type RequestEvent } from '../../../src/iommu/events.ts'
import { Iommu } from '../../../src/iommu/iommu.ts'
import { Outcome } from '../../../src/iommu/outcome.ts'
import type { MappingState } from '../../../src/iommu/state.ts'
import { Replay } from '../../../src/report/replay.ts'
import { Random } from '../../support/random.ts'
import { repeat } from '../../support/repeat.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const PAGE = 4096
const ENDPOINTS = [8, 16, 24]
const DOMAINS = 4

/** An IOMMU and the replay of its requests. */
class Pair {
  readonly iommu = new Iommu({
    memory: new VirtioMemory().memory,
    granule: PAGE,
    input: { start: 0, end: 2 ** 48 - 1 },
    domains: { start: 0, end: 100 },
    bypass: true,
    limits: { domain: 1000, total: 1000 },
    doorbells: [],
  })
  readonly replay = new Replay()
  private seq = 0

  constructor(private readonly random: Random) {
    for (const id of ENDPOINTS) this.iommu.addEndpoint({ id, name: `endpoint${id}`, reserved: [] })
  }

  /** A request of any kind, of the IOMMU first and then, where it was good, of the replay. */
  step(): void {
    const { random, iommu } = this
    const endpoint = ENDPOINTS[random.below(ENDPOINTS.length)] ?? 0
    const domain = random.below(DOMAINS)
    const start = random.below(256) * PAGE
    const end = start + (1 + random.below(random.below(4) === 0 ? 64 : 4)) * PAGE - 1
    const done = (request: string, fields: object) => (outcome: Outcome) => {
      const event: RequestEvent = { t: 0, type: 'request', seq: ++this.seq, request, domain, bytes: '', ...fields }
      if (outcome === Outcome.ok) this.replay.apply(event, this.seq)
    }
    const kind = random.below(64)
    if (kind === 0) iommu.reset(() => this.replay.reset(this.seq))
    else if (kind < 4) iommu.attach(endpoint, domain, false, done('ATTACH', { endpoint, flags: 0 }))
    else if (kind < 6) iommu.detach(endpoint, domain, done('DETACH', { endpoint }))
    else if (kind < 40)
      done('MAP', { start: hex(start), end: hex(end), phys: hex(start), flags: 3 })(
        iommu.map(domain, start, end, start, 3),
      )
    else iommu.unmap(domain, start, end, done('UNMAP', { start: hex(start), end: hex(end) }))
  }

  /** Domains with their endpoints and mappings, as the IOMMU has them. */
  get real(): object {
    const domains = this.iommu.state().domains.map(({ id, endpoints, bytes }) => {
      const mappings = this.iommu.domain(id)?.mappings(0, 10_000) ?? []
      return [id, { bytes, endpoints: [...endpoints].sort(), mappings: mappings.map(facts) }] as const
    })
    return Object.fromEntries(domains)
  }

  /** The same by the replay. */
  get replayed(): object {
    const domains = [...this.replay.domains.values()].map(({ id, endpoints, bytes, mappings }) => {
      return [id, { bytes, endpoints: [...endpoints].sort(), mappings: mappings.all().map(facts) }] as const
    })
    return Object.fromEntries(domains)
  }
}

function facts({ start, end, phys, flags }: MappingState): MappingState {
  return { start, end, phys, flags }
}

describe('Replay', () => {
  it.each([1, 2, 3, 4, 5, 6])('comes to the state of the IOMMU whose requests it replays (seed %i)', seed => {
    const pair = new Pair(new Random(seed))
    repeat(150, () => {
      repeat(20, () => pair.step())
      expect(pair.replayed).toEqual(pair.real)
    })
    const { counters } = pair.iommu.state()
    expect(pair.replay.endedCount).toBe(counters.removed)
    expect(counters.removed).toBeGreaterThan(100)
  })
})

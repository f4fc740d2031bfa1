/**
 * Random requests to an IOMMU with back ends, which fail at random: after each, every back end has what the domain of its
 * endpoints maps, all of memory, or nothing.
 */
import { Iommu } from '../../src/iommu/iommu.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import { GuestMemory } from '../../src/memory/guest-memory.ts'
import { ModelBackend } from './model-backend.ts'
import { Random } from './random.ts'

const PAGE = 0x1000
const RESERVED = [{ kind: 'reserved', start: 20 * PAGE, end: 22 * PAGE - 1 }] as const
/** Endpoints, and the back end of each: two of one group, one alone, one that this program emulates. */
const ENDPOINTS: readonly (readonly [number, number | undefined])[] = [
  [1, 0],
  [2, 0],
  [3, 1],
  [4, 2],
  [5, undefined],
]
const FAILURES = [Outcome.noMemory, Outcome.deviceError, Outcome.unsupported]

/** See above. */
export class BackendStirrer {
  /** How often each outcome was given. */
  readonly outcomes: Record<number, number> = {}
  /** How often a back end was blocked since it could not do what it should. */
  broken = 0
  private readonly random: Random
  private readonly iommu: Iommu
  private readonly backends = [0, 1, 2].map(i => new ModelBackend(`group ${i}`))

  /** Of `failing` calls to back ends one fails; 0: none does. */
  constructor(seed: number, failing: number) {
    this.random = new Random(seed)
    this.iommu = new Iommu({
      memory: new GuestMemory([{ start: 0, bytes: new Uint8Array(PAGE) }]),
      granule: PAGE,
      input: { start: 0, end: 2 ** 32 - 1 },
      domains: { start: 0, end: 10 },
      bypass: this.random.below(2) === 0,
      limits: { domain: 30, total: 60 },
      doorbells: [],
    })
    for (const [id, index] of ENDPOINTS) {
      const backend = index === undefined ? {} : { backend: this.backends[index] as ModelBackend }
      this.iommu.addEndpoint({ id, name: `endpoint ${id}`, reserved: id === 3 ? RESERVED : [], ...backend })
    }
    for (const backend of this.backends)
      backend.answer = () => {
        const fails = failing > 0 && this.random.below(failing) === 0
        backend.isFragile = this.random.below(4) === 0
        return fails ? (FAILURES[this.random.below(FAILURES.length)] as Outcome) : Outcome.ok
      }
    if (failing > 0 && this.random.below(2) === 0) (this.backends[1] as ModelBackend).limit = 12
  }

  /** Throws at the first request after which something does not fit. */
  run(requests: number): void {
    for (let i = 0; i < requests; i++) {
      const before = this.observe()
      for (const { calls } of this.backends) calls.length = 0
      const { text, outcome, removed } = this.request()
      this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1
      const where = `request ${i}, ${text}, answered with ${outcome}`
      if (outcome !== Outcome.ok && !removed && this.observe() !== before)
        throw new Error(`${where}: ${before} has become ${this.observe()}`)
      for (const [index, backend] of this.backends.entries()) this.check(backend, index, where)
    }
  }

  private request(): { readonly text: string; readonly outcome: Outcome; readonly removed: boolean } {
    const { random, iommu } = this
    const domain = 1 + random.below(3)
    const endpoint = 1 + random.below(ENDPOINTS.length)
    const start = random.below(32) * PAGE
    const end = start + (1 + random.below(3)) * PAGE - 1
    const choice = random.below(100)
    if (choice < 20) {
      const bypass = random.below(6) === 0
      const text = `ATTACH ${endpoint} to ${domain}${bypass ? ' in bypass mode' : ''}`
      return { text, outcome: ask(done => iommu.attach(endpoint, domain, bypass, done)), removed: false }
    }
    if (choice < 28)
      return {
        text: `DETACH ${endpoint} from ${domain}`,
        outcome: ask(done => iommu.detach(endpoint, domain, done)),
        removed: false,
      }
    if (choice < 70) {
      const outcome = iommu.map(domain, start, end, random.below(100) * PAGE, 1 + random.below(3))
      this.checkMaps(domain, outcome)
      return { text: `MAP ${start}-${end} in ${domain}`, outcome, removed: false }
    }
    if (choice < 97) {
      const far = random.below(10) === 0 ? 40 * PAGE : end
      const outcome = ask(done => iommu.unmap(domain, start, far, done))
      // The mappings are gone though a back end failed.
      return { text: `UNMAP ${start}-${far} in ${domain}`, outcome, removed: outcome === Outcome.deviceError }
    }
    if (choice === 97) iommu.reset(() => {})
    else iommu.bypass = !iommu.bypass
    return { text: choice === 97 ? 'reset' : `bypass ${iommu.bypass}`, outcome: Outcome.ok, removed: false }
  }

  /** A MAP is one call for each back end that has the domain's mappings, and none for others. */
  private checkMaps(domain: number, outcome: Outcome): void {
    for (const [index, { calls, name, isBroken }] of this.backends.entries()) {
      const expected = outcome === Outcome.ok && !isBroken && this.expected(index) === domain ? 1 : 0
      const count = calls.filter(call => call.startsWith('map')).length
      const isRight = outcome === Outcome.ok ? count === expected : count <= 1
      if (!isRight) throw new Error(`a MAP is ${count} calls of ${name}, not ${expected}`)
    }
  }

  /** What the back end is to do: 'bypass', 'block', or the id of the domain whose mappings it is to have. */
  private expected(index: number): number | 'bypass' | 'block' {
    const { domains, endpoints, bypass } = this.iommu.state()
    const places = ENDPOINTS.filter(([, of]) => of === index).map(([id]) => {
      const domain = endpoints.find(endpoint => endpoint.id === id)?.domain ?? null
      if (domain === null) return bypass ? 'bypass' : 'block'
      return domains.find(other => other.id === domain)?.bypass === true ? 'bypass' : domain
    })
    return new Set(places).size === 1 ? (places[0] ?? 'block') : 'block'
  }

  private check(backend: ModelBackend, index: number, where: string): void {
    const { treatment, content, name, isBroken } = backend
    const expected = this.expected(index)
    if (isBroken) {
      this.broken++
      if (treatment === 'block' && content.length === 0) return
    }
    const mappings = typeof expected === 'number' ? this.iommu.domain(expected)?.mappings(0, 1000) : []
    const should = JSON.stringify([typeof expected === 'number' ? 'translate' : expected, mappings])
    const is = JSON.stringify([treatment, content])
    if (is !== should) throw new Error(`${where}: ${name} has ${is}, not ${should}`)
  }

  /** What a request that fails may not change. */
  private observe(): string {
    const { domains, endpoints, counters } = this.iommu.state()
    // The table may find a shorter form for what it has.
    const { mapCalls: _maps, unmapCalls: _unmaps, tableBytes: _bytes, ...rest } = counters
    const mappings = domains.map(({ id }) => this.iommu.domain(id)?.mappings(0, 1000))
    return JSON.stringify([domains, endpoints.map(({ domain }) => domain), rest, mappings])
  }
}

/** The answer of a request for which nobody has to be waited. */
function ask(call: (done: (outcome: Outcome) => void) => void): Outcome {
  let answer: Outcome | undefined
  call(outcome => {
    answer = outcome
  })
  if (answer === undefined) throw new Error('the request is not answered')
  return answer
}

/** The IOMMU device for the fuzzer: near-valid requests, endpoints that are busy at times, and a look at the core's state. */
import type { Endpoint } from '../../src/iommu/endpoint.ts'
import { Iommu } from '../../src/iommu/iommu.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import type { DmaUser } from '../../src/memory/dma-space.ts'
import { Extents } from '../../src/memory/extents.ts'
import { VirtioIommu } from '../../src/virtio/iommu.ts'
import { attachRequest, detachRequest, MSI, mapRequest, probeRequest, unmapRequest } from './iommu-device.ts'
import { ModelBackend } from './model-backend.ts'
import type { Random } from './random.ts'
import { VirtioMemory } from './virtio-memory.ts'

const PAGE = 0x1000
const IDS = [0x08, 0x10]
const LIMITS = { domain: 40, total: 60 }
const WHOLE_INPUT = { start: 0, end: 2 ** 48 - 1 }

/** A device that does I/O now and then. */
class FuzzUser implements DmaUser {
  private busy = false

  constructor(
    private readonly endpoint: Endpoint,
    private readonly random: Random,
  ) {
    endpoint.space.addUser(this)
  }

  keeps(): boolean {
    return this.random.below(2) === 0
  }

  isBusy(): boolean {
    return this.busy
  }

  set(busy: boolean): void {
    const wasBusy = this.busy
    this.busy = busy
    if (wasBusy && !busy) this.endpoint.space.released()
  }
}

/** See above. */
export class FuzzIommu {
  readonly iommu: Iommu
  readonly device: VirtioIommu
  private readonly memory = new VirtioMemory().memory
  private readonly users: readonly FuzzUser[]
  private events = 0

  constructor(
    private readonly random: Random,
    defer: (task: () => void) => void,
  ) {
    this.iommu = new Iommu({
      memory: this.memory,
      granule: PAGE,
      input: WHOLE_INPUT,
      domains: { start: 1, end: 6 },
      bypass: random.below(2) === 0,
      limits: LIMITS,
      doorbells: [MSI],
    })
    const backend = new ModelBackend('group')
    this.users = IDS.map(id => {
      const hardware = random.below(3) === 0 ? { backend } : {}
      return new FuzzUser(this.iommu.addEndpoint({ id, name: `e${id}`, reserved: [MSI], ...hardware }), random)
    })
    // It has to be able to let its devices through at the start.
    backend.answer = () => (random.below(20) === 0 ? Outcome.deviceError : Outcome.ok)
    this.device = new VirtioIommu({
      name: 'iommu',
      iommu: this.iommu,
      probeSize: [0, 24, 64, 512][random.below(4)] as number,
      mmio: random.below(2) === 0,
      legacyBypass: random.below(4) === 0,
      defer,
    })
    if (random.below(2) === 0) this.iommu.tracer = () => void this.events++
  }

  /** Devices access memory, start or end their I/O; and the state has to add up. */
  stir(): void {
    const { random } = this
    this.users[random.below(2)]?.set(random.below(3) === 0)
    const { space } = this.iommu.endpoint(IDS[random.below(2)] as number) as Endpoint
    space.translate(this.address(), 1 + random.below(3 * PAGE), 1 + random.below(3), new Extents(this.memory))
    this.check()
  }

  settle(): void {
    for (const user of this.users) user.set(false)
    this.check()
  }

  /** One of the requests, now and then with odd bytes. */
  request(): Uint8Array {
    const { random } = this
    const domain = random.below(8) > 0 ? 1 + random.below(2) : random.below(8)
    const endpoint = random.below(20) === 0 ? random.below(2 ** 32) : (IDS[random.below(2)] as number)
    const start = this.address()
    const size = 2 ** random.below(5) * PAGE
    const end = random.below(10) === 0 ? this.address() : start + size - (random.below(20) === 0 ? 0 : 1)
    const flags = random.below(10) === 0 ? random.below(16) : 1 + random.below(3)
    const requests = [
      attachRequest(domain, endpoint, random.below(8) === 0 ? 1 : 0),
      detachRequest(domain, endpoint),
      mapRequest(domain, start, Math.max(0, end), this.address(), flags),
      mapRequest(domain, start, Math.max(0, end), this.address(), flags),
      mapRequest(domain, start, Math.max(0, end), this.address(), flags),
      unmapRequest(domain, start, Math.max(0, end)),
      probeRequest(endpoint),
      random.bytes(random.below(80)),
    ]
    const request = requests[random.below(requests.length)] as Uint8Array
    if (request.length > 0 && random.below(10) === 0) request[random.below(request.length)] = random.below(256)
    return random.below(30) === 0 ? request.subarray(0, random.below(request.length + 1)) : request
  }

  private address(): number {
    const { random } = this
    if (random.below(20) > 0) return random.below(64) * PAGE
    const odd = [1, MSI.start, MSI.end + 1 - PAGE, WHOLE_INPUT.end + 1 - PAGE, WHOLE_INPUT.end + 1, 2 ** 52, 2 ** 53]
    return odd[random.below(odd.length)] as number
  }

  /** Throws unless what the core says of itself fits together. */
  private check(): void {
    const { domains, endpoints, counters } = this.iommu.state()
    const attached = endpoints.filter(({ domain }) => domain !== null)
    expect(
      domains.reduce((sum, domain) => sum + domain.endpoints.length, 0) === attached.length,
      'an endpoint is in a domain that it does not know',
    )
    for (const { id, domain } of attached)
      expect(domains.find(other => other.id === domain)?.endpoints.includes(id) === true, `endpoint ${id} is lost`)
    let total = 0
    for (const { id, endpoints: members, bypass, mappings: count, bytes } of domains) {
      const mappings = this.iommu.domain(id)?.mappings(0, LIMITS.domain + 1) ?? []
      expect(members.length > 0, `domain ${id} has no endpoint`)
      expect(mappings.length === count && count <= (bypass ? 0 : LIMITS.domain), `domain ${id} has ${count} mappings`)
      let next = 0
      let size = 0
      for (const { start, end, phys } of mappings) {
        const isInside = start >= next && end <= WHOLE_INPUT.end && (end < MSI.start || start > MSI.end)
        const isAligned = start % PAGE === 0 && (end + 1) % PAGE === 0 && phys % PAGE === 0
        expect(isInside && isAligned && end > start, `domain ${id} maps ${start}-${end} to ${phys}`)
        next = end + 1
        size += next - start
      }
      expect(size === bytes, `domain ${id} has ${bytes} bytes`)
      total += count
    }
    expect(total === counters.mappings && total <= LIMITS.total, `there are ${counters.mappings} mappings`)
  }
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`the IOMMU's state: ${what}`)
}

/**
 * Random requests to an IOMMU whose back ends are containers, with devices' memory that comes and goes and calls that
 * fail: after each, a container has nothing but what the place of its group's endpoints lets them reach.
 */
import { HostError } from '../../src/base/errors.ts'
import { Iommu } from '../../src/iommu/iommu.ts'
import { GuestMemory } from '../../src/memory/guest-memory.ts'
import { ContainerBackend } from '../../src/vfio/container-backend.ts'
import { PeerMemory } from '../../src/vfio/peer-memory.ts'
import { FAKE_INFO, FakeContainer } from './fake-container.ts'
import { Random } from './random.ts'

const PAGE = 0x1000
const IOVA_PAGES = 60
const PHYS_PAGES = 96
const ACCESS = 3
/** Pages of RAM: with a hole. Behind it is room for devices. */
const RAM = [
  { start: 0, size: 40 * PAGE, hostAddress: 0x7f00_0000_0000 },
  { start: 48 * PAGE, size: 16 * PAGE, hostAddress: 0x7f00_0002_8000 },
]
const PEER_PAGE = 64
const PEER_HOST = 0x7e00_0000_0000
/** Endpoints, and the group of each. */
const ENDPOINTS: readonly (readonly [number, number])[] = [
  [1, 0],
  [2, 0],
  [3, 1],
  [4, 2],
]
/** Mappings that the groups' containers take. */
const LIMITS = [undefined, 6, 20] as const
/** EFAULT, ENOMEM, ENOSPC. */
const ERRORS = [14, 12, 28] as const

/** How much fails: nothing, calls that can be made up for, or so much that the host keeps mappings. */
export type Trouble = 'none' | 'some' | 'much'

/** See above. */
export class IommuContainerStirrer {
  /** What a container has and should not have, or lacks. */
  readonly differences: string[] = []
  /** The host kept a mapping, and the machine would have ended. */
  hasEnded = false
  private readonly random: Random
  private readonly peers = new PeerMemory()
  private readonly ports = LIMITS.map(limit => new FakeContainer({ ...FAKE_INFO, limit }))
  private readonly backends: readonly ContainerBackend[]
  private readonly iommu: Iommu
  private present: readonly { readonly start: number; readonly size: number; readonly hostAddress: number }[] = []

  constructor(
    seed: number,
    private readonly trouble: Trouble,
  ) {
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
    const { peers } = this
    this.backends = this.ports.map(
      (port, index) => new ContainerBackend({ name: `group ${index}`, port, blocks: RAM, peers, warn: () => {} }),
    )
    for (const [id, group] of ENDPOINTS)
      this.iommu.addEndpoint({ id, name: `vfio${id}`, reserved: [], backend: this.backends[group] as ContainerBackend })
  }

  /** Ends early at the first difference, or when the machine would. */
  run(count: number): void {
    for (let i = 0; i < count && this.differences.length === 0 && !this.hasEnded; i++) {
      this.disturb()
      let act = ''
      try {
        act = this.act()
      } catch (error) {
        if (!(error instanceof HostError)) throw error
        this.hasEnded = true
        return
      }
      for (const port of this.ports) {
        port.mapErrors = []
        port.unmapErrors = []
      }
      for (const [group, port] of this.ports.entries()) this.check(`${i}: ${act}`, group, port)
    }
  }

  private disturb(): void {
    const { random, trouble } = this
    if (trouble === 'none' || random.below(4) > 0) return
    for (const port of this.ports) {
      // Mostly one call, so that what was there can be had again.
      const again = random.below(3) === 0 ? [0, this.pick(ERRORS)] : []
      port.mapErrors = [...Array<number>(random.below(3)).fill(0), this.pick(ERRORS), ...again]
      if (random.below(5) === 0) port.unmapErrors = trouble === 'much' && random.below(3) === 0 ? [22, 22] : [22]
    }
  }

  private act(): string {
    const { random, iommu } = this
    const domain = 1 + random.below(3)
    const endpoint = 1 + random.below(ENDPOINTS.length)
    const start = random.below(IOVA_PAGES) * PAGE
    const choice = random.below(100)
    let outcome: number | undefined
    const done = (answer: number) => {
      outcome = answer
    }
    if (choice < 22) {
      iommu.attach(endpoint, domain, random.below(6) === 0, done)
      return `ATTACH ${endpoint} to ${domain}: ${outcome}`
    }
    if (choice < 35) {
      iommu.detach(endpoint, domain, done)
      return `DETACH ${endpoint} from ${domain}: ${outcome}`
    }
    if (choice < 65) {
      const end = start + (1 + random.below(8)) * PAGE - 1
      return `MAP ${start}-${end}: ${iommu.map(domain, start, end, random.below(PHYS_PAGES) * PAGE, random.below(8))}`
    }
    if (choice < 85) {
      const end = start + (1 + random.below(30)) * PAGE - 1
      iommu.unmap(domain, start, end, done)
      return `UNMAP ${start}-${end}: ${outcome}`
    }
    if (choice < 96) return this.changePeers()
    if (choice === 96) iommu.reset(() => {})
    else iommu.bypass = !iommu.bypass
    return choice === 96 ? 'reset' : `bypass ${iommu.bypass}`
  }

  private changePeers(): string {
    const { random } = this
    const [gone] = this.present
    if (gone !== undefined && random.below(2) === 0) {
      this.present = this.present.slice(1)
      this.peers.remove(gone.start)
      return `${gone.start} is gone`
    }
    const peer = {
      start: (PEER_PAGE + random.below(24)) * PAGE,
      size: (1 + random.below(8)) * PAGE,
      hostAddress: PEER_HOST + random.below(8) * PAGE,
    }
    if (this.present.some(other => other.start < peer.start + peer.size && peer.start < other.start + other.size))
      return 'nothing'
    this.present = [...this.present, peer]
    this.peers.add(peer.start, peer.size, peer.hostAddress)
    return `${peer.start} is there`
  }

  private check(act: string, group: number, port: FakeContainer): void {
    const allowed = this.allowed(group)
    let pages = 0
    for (const [iova, { size, hostAddress, flags }] of port.entries)
      for (let at = 0; at < size; at += PAGE, pages++)
        if (allowed.get(iova + at) !== `${hostAddress + at} ${flags}`)
          this.differences.push(`${act}: group ${group} reaches ${hostAddress + at} at ${iova + at}`)
    if (this.backends[group]?.treatment === 'block' && pages > 0)
      this.differences.push(`${act}: group ${group} is blocked, and reaches ${pages} pages`)
    const isWhole = this.trouble === 'none' && port.info.limit === undefined
    if (isWhole && pages !== allowed.size) this.differences.push(`${act}: group ${group} lacks pages`)
  }

  /** What a group may reach, by page; nothing unless all of its endpoints are in one place. */
  private allowed(group: number): ReadonlyMap<number, string> {
    const { endpoints } = this.iommu.state()
    const places = ENDPOINTS.filter(([, of]) => of === group).map(([id]) => {
      const attached = endpoints.find(endpoint => endpoint.id === id)?.domain ?? null
      const domain = attached === null ? undefined : this.iommu.domain(attached)
      if (domain === undefined) return this.iommu.bypass ? 'bypass' : 'block'
      return domain.bypass ? 'bypass' : domain
    })
    const [place = 'block'] = places
    const pages = new Map<number, string>()
    if (place === 'block' || places.some(other => other !== place)) return pages
    const all = [{ start: 0, end: PHYS_PAGES * PAGE - 1, phys: 0, flags: ACCESS }]
    for (const { start, end, phys, flags } of place === 'bypass' ? all : place.mappings(0, 1000))
      for (let at = start; at < end && (flags & ACCESS) !== 0; at += PAGE) {
        const host = this.host(phys + at - start)
        if (host !== undefined) pages.set(at, `${host} ${flags & ACCESS}`)
      }
    return pages
  }

  private host(phys: number): number | undefined {
    const found = [...RAM, ...this.present].find(({ start, size }) => phys >= start && phys < start + size)
    return found && found.hostAddress + phys - found.start
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)] as T
  }
}

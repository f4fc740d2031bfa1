/**
 * A back end over a container, and what the container should have: page by page, over random requests as the IOMMU makes
 * them, with devices' memory that comes and goes and calls that fail.
 */
import type { BackendTarget } from '../../src/iommu/endpoint-backend.ts'
import { MapFlag } from '../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import type { MappingState } from '../../src/iommu/state.ts'
import type { RamBlock } from '../../src/memory/ram.ts'
import { ContainerBackend } from '../../src/vfio/container-backend.ts'
import type { DmaPort } from '../../src/vfio/dma-port.ts'
import { PeerMemory } from '../../src/vfio/peer-memory.ts'
import type { FakeContainer } from './fake-container.ts'
import { Random } from './random.ts'

const PAGE = 4096
const IOVA_PAGES = 256
/** Guest-physical pages: RAM, nothing, RAM, room for devices. */
const RAM = [
  { start: 0, size: 40 * PAGE },
  { start: 48 * PAGE, size: 16 * PAGE },
] as const
export const RAM_BYTES = 56 * PAGE
const PEER_PAGE = 64
const PEER_PAGES = 24
export const PEER_BYTES = 32 * PAGE
const PHYS_PAGES = 96
/** What a call may fail with: EFAULT, ENOMEM, ENOSPC. */
const ERRORS = [14, 12, 28] as const

export interface ComparisonOptions {
  readonly seed: number
  readonly port: DmaPort
  /** What the port has done, to be compared: `port` itself, or one that gets the same calls. */
  readonly shown: FakeContainer
  /** RAM_BYTES of this process for RAM, and PEER_BYTES for memory of devices. */
  readonly ram: number
  readonly peer: number
  /** Whether calls are to fail for no reason. */
  readonly failing: boolean
}

/** See above. */
export class ContainerComparison {
  /** In words, where the container has something else. */
  readonly differences: string[] = []
  readonly backend: ContainerBackend
  private readonly random: Random
  private readonly peers = new PeerMemory()
  private readonly blocks: readonly RamBlock[]
  /** What the endpoint's domain has. */
  private domain: { mappings: readonly MappingState[] } = { mappings: [] }
  private present: readonly { readonly start: number; readonly size: number; readonly hostAddress: number }[] = []
  /** A peer may be missing: it could not be mapped when it came. */
  private readonly mayMiss: boolean

  constructor(private readonly options: ComparisonOptions) {
    this.random = new Random(options.seed)
    const [low, high] = RAM
    this.blocks = [
      { ...low, hostAddress: options.ram },
      { ...high, hostAddress: options.ram + low.size },
    ]
    const { port, failing } = options
    this.mayMiss = failing || port.info.limit !== undefined
    this.backend = new ContainerBackend({ name: 'group', port, blocks: this.blocks, peers: this.peers, warn: () => {} })
  }

  /** Does `count` random things. */
  run(count: number): void {
    const acts = [this.map, this.map, this.map, this.map, this.unmap, this.unmap, this.change, this.move]
    for (let i = 0; i < count; i++) {
      const act = this.pick(acts)
      this.fail()
      const text = act.call(this)
      this.options.shown.mapErrors = []
      this.options.shown.unmapErrors = []
      this.compare(`${i}: ${text}`)
    }
  }

  /** Makes calls of the next act fail. */
  private fail(): void {
    if (!this.options.failing || this.random.below(4) > 0) return
    const errors = Array.from({ length: 4 }, () => (this.random.below(2) === 0 ? this.pick(ERRORS) : 0))
    if (this.random.below(6) === 0) this.options.shown.unmapErrors = [22]
    else this.options.shown.mapErrors = errors
  }

  private map(): string {
    const { random } = this
    const size = (1 + random.below(24)) * PAGE
    const start = random.below(IOVA_PAGES - 24) * PAGE
    const phys = random.below(PHYS_PAGES) * PAGE
    const flags = random.below(8) as number
    const mapping = { start, end: start + size - 1, phys, flags }
    const isFree = this.domain.mappings.every(other => other.end < start || other.start > mapping.end)
    if (!isFree || this.backend.treatment !== 'translate') return 'nothing'
    const outcome = this.backend.map(start, mapping.end, phys, flags)
    if (outcome === Outcome.ok) this.domain.mappings = [...this.domain.mappings, mapping]
    return `map ${start}+${size}>${phys} ${flags}: ${outcome}`
  }

  private unmap(): string {
    if (this.backend.treatment !== 'translate' || this.domain.mappings.length === 0) return 'nothing'
    const first = this.pick(this.domain.mappings)
    const last = this.random.below(2) === 0 ? first : this.pick(this.domain.mappings)
    const start = Math.max(0, Math.min(first.start, last.start) - this.random.below(3) * 100)
    const end = Math.max(first.end, last.end) + this.random.below(3) * 100
    const outcome = this.backend.unmap(start, end)
    this.domain.mappings = this.domain.mappings.filter(mapping => mapping.start < start || mapping.end > end)
    return `unmap ${start}-${end}: ${outcome}`
  }

  private change(): string {
    const gone = this.random.below(2) === 0 ? this.present[0] : undefined
    if (gone !== undefined) {
      this.present = this.present.filter(peer => peer !== gone)
      this.peers.remove(gone.start)
      return `remove ${gone.start}`
    }
    const offset = this.random.below(8) * PAGE
    const start = (PEER_PAGE + this.random.below(PEER_PAGES)) * PAGE
    const size = (1 + this.random.below(8)) * PAGE
    const peer = { start, size, hostAddress: this.options.peer + offset }
    if (this.present.some(other => other.start < start + size && start < other.start + other.size)) return 'nothing'
    this.present = [...this.present, peer]
    this.peers.add(start, size, peer.hostAddress)
    return `add ${start}+${size}`
  }

  private move(): string {
    const before = this.domain
    const kind = this.random.below(4)
    const mappings = kind < 2 ? before.mappings.filter(() => this.random.below(2) === 0) : []
    const next = { mappings }
    // As a domain's: those that it has when they are gone through.
    const live = { [Symbol.iterator]: () => next.mappings[Symbol.iterator]() }
    const targets: readonly BackendTarget[] = [
      { treatment: 'translate', mappings: live },
      { treatment: 'translate', mappings: live },
      { treatment: 'bypass' },
      { treatment: 'block' },
    ]
    const target = targets[kind] as BackendTarget
    this.domain = next
    const outcome = this.backend.move(target)
    if (outcome !== Outcome.ok) this.domain = before
    return `move ${target.treatment}: ${outcome}`
  }

  private compare(act: string): void {
    const { shown } = this.options
    const wanted = this.wanted()
    const there = new Map<number, string>()
    let pinned = 0
    for (const [iova, { size, hostAddress, flags }] of shown.entries) {
      for (let at = 0; at < size; at += PAGE) there.set(iova + at, `${hostAddress + at} ${flags}`)
      if (hostAddress >= this.options.ram && hostAddress < this.options.ram + RAM_BYTES) pinned += size
    }
    for (const [iova, page] of there)
      if (wanted.get(iova)?.page !== page) this.differences.push(`${act}: ${iova} shows ${page}`)
    for (const [iova, { page, isPeer }] of wanted)
      if (!there.has(iova) && !(isPeer && this.mayMiss)) this.differences.push(`${act}: ${iova} lacks ${page}`)
    const { mappings, pinnedBytes } = this.backend.state()
    if (mappings !== shown.entries.size) this.differences.push(`${act}: ${mappings} mappings are counted`)
    if (pinnedBytes !== pinned) this.differences.push(`${act}: ${pinnedBytes} bytes are counted`)
  }

  /** By page of the device's address space. */
  private wanted(): ReadonlyMap<number, { readonly page: string; readonly isPeer: boolean }> {
    const pages = new Map<number, { readonly page: string; readonly isPeer: boolean }>()
    const { treatment } = this.backend
    const all = [{ start: 0, end: PHYS_PAGES * PAGE - 1, phys: 0, flags: MapFlag.read | MapFlag.write }]
    const lists = { block: [], bypass: all, translate: this.domain.mappings }
    for (const { start, end, phys, flags } of lists[treatment]) {
      const access = flags & 3
      for (let at = start; at < end && access !== 0; at += PAGE) {
        const found = this.host(phys + at - start)
        if (found !== undefined) pages.set(at, { page: `${found.address} ${access}`, isPeer: found.isPeer })
      }
    }
    return pages
  }

  private host(phys: number): { readonly address: number; readonly isPeer: boolean } | undefined {
    const within = ({ start, size }: { readonly start: number; readonly size: number }) =>
      phys >= start && phys < start + size
    const block = this.blocks.find(within)
    if (block !== undefined) return { address: block.hostAddress + phys - block.start, isPeer: false }
    const peer = this.present.find(within)
    return peer && { address: peer.hostAddress + phys - peer.start, isPeer: true }
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)] as T
  }
}

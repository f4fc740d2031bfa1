/**
 * Memory as the devices of an endpoint see it. VIRTIO 1.2 §5.13.6: through the mappings of a domain, unchanged (bypass
 * mode), or not at all; its reserved regions excepted (§5.13.6.8.1).
 */
import { alignDown } from '../base/bits.ts'
import { Access, type DmaSpace, type DmaUser, IdentitySpace } from '../memory/dma-space.ts'
import type { Extents } from '../memory/extents.ts'
import type { GuestMemory } from '../memory/guest-memory.ts'
import { DmaUsers } from './dma-users.ts'
import { type Fault, FaultReason } from './fault.ts'
import type { Range } from './iommu.ts'
import { MapFlag } from './mapping-flags.ts'
import type { MappingTable } from './mapping-table.ts'
import type { ReservedRegion } from './reserved-region.ts'
import type { ReservedRegions } from './reserved-regions.ts'
import type { EndpointState } from './state.ts'
import { TranslationCache } from './translation-cache.ts'

const PAGE_SIZE = 4096
/** The address of no fault: a translation that is given up. */
const NOWHERE = -1

type Reason = Fault['reason']

export interface EndpointSpaceOptions {
  readonly memory: GuestMemory
  readonly reserved: ReservedRegions
  /** Where writes are message-signalled interrupts, by guest-physical address. */
  readonly doorbells: readonly Range[]
  /** Told of each access that was refused. */
  readonly refuse: (reason: Reason, access: number, address: number) => void
  /** A user is less busy. */
  readonly released: () => void
}

/** See above. */
export class EndpointSpace implements DmaSpace {
  readonly isRevocable = true
  readonly memory: GuestMemory
  version = 0
  private how: EndpointState['treatment'] = 'block'
  /** What addresses go through; undefined unless they are translated. */
  private table: MappingTable | undefined
  /** Bypass mode: as without an IOMMU. */
  private readonly identity: IdentitySpace
  private readonly cache = new TranslationCache()
  private readonly users = new DmaUsers()
  private listeners: readonly ((start: number, end: number) => void)[] = []
  /** Why the last `walk` or `reachMsi` came to nothing, and where. */
  private reason: Reason = FaultReason.unknown
  private refused = 0

  constructor(private readonly options: EndpointSpaceOptions) {
    this.memory = options.memory
    this.identity = new IdentitySpace(options.memory)
  }

  get treatment(): EndpointState['treatment'] {
    return this.how
  }

  /** For the IOMMU, which calls `invalidate` next: from now on accesses are treated so. */
  treat(treatment: EndpointState['treatment'], table: MappingTable | undefined): void {
    this.how = treatment
    this.table = table
  }

  translate(iova: number, length: number, access: number, extents: Extents): boolean {
    const phys = this.cache.find(iova, length, access)
    if (phys < 0) return this.translateAnew(iova, length, access, extents)
    if (length > 0) extents.add(phys, length)
    return true
  }

  addUser(user: DmaUser): void {
    this.users.add(user)
  }

  /** A user that is busy is asked until it is not: the memory that it uses is not free before. */
  removeUser(user: DmaUser): void {
    this.users.remove(user)
    this.options.released()
  }

  released(): void {
    this.users.released()
    this.options.released()
  }

  /** For the IOMMU, after `invalidate`: whether somebody kept a translation in [start, end], and so has to look again. */
  revoke(start: number, end: number): boolean {
    if (!this.users.keep(start, end)) return false
    this.version++
    return true
  }

  /** For the IOMMU: whether the host may still use memory that addresses of the range came to. */
  isBusy(start: number, end: number): boolean {
    return this.users.areBusy(start, end)
  }

  /** Calls `listener` after every change of what addresses in [start, end] translate to; returns how to stop that. */
  onChange(listener: (start: number, end: number) => void): () => void {
    this.listeners = [...this.listeners, listener]
    return () => {
      this.listeners = this.listeners.filter(other => other !== listener)
    }
  }

  /** For the IOMMU: what addresses of the range translated to is void. */
  invalidate(start: number, end: number): void {
    this.cache.forget(start, end)
    this.changed(start, end)
  }

  /** For the IOMMU: addresses of the range translate to something else, or to something at all. */
  changed(start: number, end: number): void {
    const { listeners } = this
    for (let i = 0; i < listeners.length; i++) listeners[i]?.(start, end)
  }

  /**
   * Where a message-signalled interrupt to `address` lands: a guest-physical address in a doorbell region; undefined if
   * it does not reach one. Reports nothing.
   */
  resolveMsi(address: number): number | undefined {
    const landing = this.reachMsi(address)
    return landing !== undefined && this.isDoorbell(landing) ? landing : undefined
  }

  /** A message to `address` was sent, and reaches no doorbell: reports the fault. */
  refuseMsi(address: number): void {
    this.reason = FaultReason.unknown
    this.reachMsi(address)
    this.options.refuse(this.reason, Access.write, address)
  }

  /** The guest-physical address of a message; undefined if it does not get there, and `reason` says why. */
  private reachMsi(address: number): number | undefined {
    const { table } = this
    this.reason = FaultReason.mapping
    const region = this.options.reserved.first(address, address)
    if (region !== undefined && region.kind !== 'msi') return undefined
    if (region === undefined && table !== undefined) {
      if (!table.lookup.find(address) || (table.lookup.bits & MapFlag.write) === 0) return undefined
    } else if (region === undefined && this.how === 'block') {
      this.reason = FaultReason.domain
      return undefined
    }
    // From here on only that there is no doorbell can be wrong with it.
    this.reason = FaultReason.unknown
    return region === undefined && table !== undefined ? table.lookup.phys : address
  }

  private isDoorbell(address: number): boolean {
    return this.options.doorbells.some(({ start, end }) => address >= start && address <= end)
  }

  /** Without the cache. */
  private translateAnew(iova: number, length: number, access: number, extents: Extents): boolean {
    if (length === 0) return true
    const { table } = this
    const region = this.options.reserved.first(iova, iova + length - 1)
    if (region !== undefined) return this.refuseReserved(iova, region, access, extents)
    if (table !== undefined) {
      if (this.single(table, iova, length, access, extents)) return true
      if (this.walk(table, iova, length, access, extents)) return true
      if (this.refused !== NOWHERE) this.options.refuse(this.reason, access, this.refused)
      return false
    }
    if (this.how === 'bypass') return this.identity.translate(iova, length, access, extents)
    this.options.refuse(FaultReason.domain, access, iova)
    return false
  }

  /** Refuses an access that touches a reserved region, or at an address before it that is refused already. */
  private refuseReserved(iova: number, region: ReservedRegion, access: number, extents: Extents): boolean {
    const { table } = this
    const { count } = extents
    const before = Math.max(0, region.start - iova)
    this.reason = FaultReason.mapping
    this.refused = iova + before
    if (before > 0 && table !== undefined) {
      this.walk(table, iova, before, access, extents)
      extents.truncate(count)
    } else if (before > 0 && this.how === 'block') {
      this.reason = FaultReason.domain
      this.refused = iova
    }
    if (this.refused !== NOWHERE) this.options.refuse(this.reason, access, this.refused)
    return false
  }

  /** `walk` for the usual case, in which a single entry maps the range to one piece of memory. False: it is not that. */
  private single(table: MappingTable, iova: number, length: number, access: number, extents: Extents): boolean {
    const { lookup } = table
    if (!lookup.find(iova) || (lookup.bits & access) !== access || length > lookup.room) return false
    const { phys } = lookup
    if (length > this.memory.windowRoom(phys) || extents.budget < 1) return false
    extents.budget--
    extents.add(phys, length)
    const offset = iova - alignDown(iova, PAGE_SIZE)
    if (offset + length <= PAGE_SIZE) this.remember(iova - offset, phys - offset, lookup.bits)
    return true
  }

  /** Keeps a page for the next time if all of it is memory; what is mapped is not reserved, see `Iommu`. */
  private remember(page: number, phys: number, rights: number): void {
    if (this.memory.windowRoom(phys) >= PAGE_SIZE) this.cache.add(page, phys, rights)
  }

  /** Appends what the table makes of a range. False: nothing is appended, `reason` and `refused` say why and where. */
  private walk(table: MappingTable, iova: number, length: number, access: number, extents: Extents): boolean {
    const { memory } = this
    const { lookup } = table
    const { count } = extents
    let at = iova
    let rest = length
    // The extent that is being made: pieces that follow each other in memory are one.
    let start = 0
    let size = 0
    let room = 0
    while (rest > 0) {
      if (--extents.budget < 0) return this.fail(FaultReason.unknown, NOWHERE, count, extents)
      if (!lookup.find(at) || (lookup.bits & access) !== access)
        return this.fail(FaultReason.mapping, at, count, extents)
      const { phys } = lookup
      const piece = lookup.room < rest ? lookup.room : rest
      if (size > 0 && phys === start + size && size + piece <= room) {
        size += piece
      } else {
        if (size > 0) extents.add(start, size)
        start = phys
        room = memory.windowRoom(phys)
        size = piece
        while (size > room) {
          if (room === 0) return this.fail(FaultReason.unknown, at + (start - phys), count, extents)
          extents.add(start, room)
          start += room
          size -= room
          room = memory.windowRoom(start)
        }
      }
      at += piece
      rest -= piece
    }
    if (size > 0) extents.add(start, size)
    return true
  }

  private fail(reason: Reason, address: number, count: number, extents: Extents): boolean {
    extents.truncate(count)
    this.reason = reason
    this.refused = address
    return false
  }
}

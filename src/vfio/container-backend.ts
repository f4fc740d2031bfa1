/**
 * A host group behind the guest's IOMMU: its container maps what the group's domain maps, and nothing else.
 *
 * A mapping of the guest is one of the host's for each block of RAM and each peer's memory that it covers; what is
 * neither is not mapped there, and accesses to it are the host's faults. Peers come and go while they are mapped.
 */
import { HostError } from '../base/errors.ts'
import { ENOMEM, ENOSPC, errnoName } from '../host/errno.ts'
import type { BackendState, BackendTarget, EndpointBackend } from '../iommu/endpoint-backend.ts'
import { MapFlag } from '../iommu/mapping-flags.ts'
import { Outcome } from '../iommu/outcome.ts'
import type { RamBlock } from '../memory/ram.ts'
import type { DmaPort } from './dma-port.ts'
import { type HostMapping, HostMappings } from './host-mappings.ts'
import { IovaList } from './iova-list.ts'
import { type MemoryPiece, MemoryPieces } from './memory-pieces.ts'
import type { PeerMemory } from './peer-memory.ts'
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from './uapi.ts'

export interface ContainerBackendOptions {
  /** For messages, "group 7". */
  readonly name: string
  readonly port: DmaPort
  /** All of guest RAM. */
  readonly blocks: readonly RamBlock[]
  readonly peers: PeerMemory
  /** One line that the user should see. */
  readonly warn: (message: string) => void
}

/** A mapping of the guest that is not RAM from end to end: what it shows changes with the peers. */
interface Window {
  readonly size: number
  readonly phys: number
  /** VFIO_DMA_MAP_FLAG_*. */
  readonly flags: number
  /** It fails when a peer in it cannot be mapped. */
  readonly isStrict: boolean
}

const READ_WRITE = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE

/** See above. */
export class ContainerBackend implements EndpointBackend {
  readonly name: string
  private readonly port: DmaPort
  private readonly mappings: HostMappings
  private readonly pieces: MemoryPieces
  private readonly warn: (message: string) => void
  private readonly windows: IovaList<Window>
  /** What is mapped now. */
  private target: BackendTarget = { treatment: 'block' }
  private isAbandoned = false
  /** Kinds of refusals that were told. */
  private readonly told = new Set<string>()
  private lastRefusal: string | undefined

  constructor({ name, port, blocks, peers, warn }: ContainerBackendOptions) {
    this.name = name
    this.port = port
    this.mappings = new HostMappings(port)
    this.pieces = new MemoryPieces(blocks, peers)
    this.warn = warn
    this.windows = new IovaList(this.mappings.page)
    peers.onChange((start, size) => this.peersChanged(start, size))
  }

  get treatment(): BackendTarget['treatment'] {
    return this.target.treatment
  }

  get error(): string | undefined {
    return this.lastRefusal
  }

  move(target: BackendTarget): Outcome {
    const before = this.target
    this.empty()
    const outcome = this.fill(target)
    if (outcome === Outcome.ok) return outcome
    this.empty()
    if (this.fill(before) !== Outcome.ok) this.empty()
    return outcome
  }

  map(start: number, end: number, phys: number, flags: number): Outcome {
    if (this.isAbandoned) return Outcome.ok
    if (this.treatment !== 'translate') return Outcome.deviceError
    return this.mapRange(start, end, phys, flags)
  }

  unmap(start: number, end: number): Outcome {
    if (this.isAbandoned || this.treatment !== 'translate') return Outcome.ok
    if (this.remove(start, end)) return Outcome.ok
    this.empty()
    return Outcome.deviceError
  }

  /**
   * The host has taken the group back, and ended its translations: from now on everything succeeds and nothing is done,
   * so that the guest's requests do not fail for a device that is gone.
   */
  abandon(): void {
    this.isAbandoned = true
    this.mappings.forget()
    this.windows.clear()
  }

  state(): BackendState {
    const { mappings, port } = this
    return {
      name: this.name,
      treatment: this.treatment,
      mappings: mappings.count,
      limit: port.info.limit ?? null,
      pinnedBytes: mappings.pinnedBytes,
      mapCalls: mappings.mapCalls,
      unmapCalls: mappings.unmapCalls,
    }
  }

  /** From nothing; when it fails, part of the target may be mapped. */
  private fill(target: BackendTarget): Outcome {
    const outcome = this.isAbandoned ? Outcome.ok : this.mapTarget(target)
    if (outcome === Outcome.ok) this.target = target
    return outcome
  }

  private mapTarget(target: BackendTarget): Outcome {
    if (target.treatment === 'bypass') return this.mapAll()
    if (target.treatment === 'block') return Outcome.ok
    for (const { start, end, phys, flags } of target.mappings) {
      const outcome = this.mapRange(start, end, phys, flags)
      if (outcome !== Outcome.ok) return outcome
    }
    return Outcome.ok
  }

  /** All of memory at its own addresses. Peers that the host cannot reach there are left out. */
  private mapAll(): Outcome {
    const size = Number.MAX_SAFE_INTEGER - (Number.MAX_SAFE_INTEGER % this.mappings.page)
    return this.mapWindow(0, { size, phys: 0, flags: READ_WRITE, isStrict: false })
  }

  private mapRange(start: number, end: number, phys: number, mapFlags: number): Outcome {
    const flags =
      ((mapFlags & MapFlag.read) === 0 ? 0 : VFIO_DMA_MAP_FLAG_READ) |
      ((mapFlags & MapFlag.write) === 0 ? 0 : VFIO_DMA_MAP_FLAG_WRITE)
    // A mapping that allows nothing: the host knows none such, and without it every access is a fault as well.
    if (flags === 0) return Outcome.ok
    const size = end + 1 - start
    const hostAddress = this.pieces.ram(phys, size)
    if (hostAddress === undefined) return this.mapWindow(start, { size, phys, flags, isStrict: true })
    return this.answer(this.mappings.put(start, { size, hostAddress, flags, isPeer: false }))
  }

  private mapWindow(start: number, window: Window): Outcome {
    for (const piece of this.pieces.of(window.phys, window.size)) {
      const outcome = this.mapPiece(start, window, piece)
      if (outcome === Outcome.ok || (piece.isPeer && !window.isStrict)) continue
      // What was mapped of it goes again; if that fails, everything does.
      if (!this.takeAway(start, start + window.size - 1)) this.empty()
      return outcome
    }
    this.windows.set(start, window)
    return Outcome.ok
  }

  private mapPiece(start: number, window: Window, piece: MemoryPiece): Outcome {
    const { iova, mapping } = place(start, window, piece)
    // Peers lie where the guest put them, which may be beyond what the host's IOMMU reaches.
    if (piece.isPeer && !this.isUsable(iova, piece.size)) return Outcome.deviceError
    return this.answer(this.mappings.put(iova, mapping))
  }

  /** True: what lies in the range is gone. */
  private remove(start: number, end: number): boolean {
    if (!this.takeAway(start, end)) return false
    if (this.windows.count === 0) return true
    const { page } = this.mappings
    const gone = this.windows.within(Math.ceil(start / page) * page, Math.floor((end + 1) / page) * page)
    for (const [at] of gone) this.windows.delete(at)
    return true
  }

  /**
   * Takes everything away. Throws when the host keeps some of it: then devices reach memory that they must not, and only
   * the end of the machine takes it away from them.
   */
  private empty(): void {
    this.windows.clear()
    this.target = { treatment: 'block' }
    const result = this.mappings.clear()
    if (result >= 0) return
    const reason = refusal('UNMAP', -result)
    throw new HostError(`${this.name}: the host does not take back what its devices reach: ${reason}`)
  }

  /** Mappings of the host's; false: it refuses. */
  private takeAway(start: number, end: number): boolean {
    const result = this.mappings.remove(start, end)
    if (result < 0) this.lastRefusal = refusal('UNMAP', -result)
    return result >= 0
  }

  /** Brings mappings of peers in step, where [start, start + size) of guest-physical memory shows through. */
  private peersChanged(start: number, size: number): void {
    const touched = [...this.windows.entries()].filter(
      ([, { phys, size: length }]) => phys < start + size && start < phys + length,
    )
    // One that fails to go takes all windows with it.
    for (const [at, window] of touched) if (this.windows.count > 0) this.refresh(at, window)
  }

  private refresh(start: number, window: Window): void {
    const wanted = new Map(
      this.pieces
        .of(window.phys, window.size)
        .filter(({ isPeer }) => isPeer)
        .map(piece => place(start, window, piece))
        .map(({ iova, mapping }) => [iova, mapping]),
    )
    for (const [iova, mapping] of this.mappings.within(start, start + window.size - 1)) {
      const next = wanted.get(iova)
      if (!mapping.isPeer || (next !== undefined && isSame(next, mapping))) wanted.delete(iova)
      else if (!this.takeAway(iova, iova + mapping.size - 1)) {
        this.empty()
        const what = `${this.name} reaches no memory any more: the host does not take back another device's memory`
        this.warn(`${what}: ${this.lastRefusal}`)
        return
      }
    }
    for (const [iova, mapping] of wanted)
      if (this.isUsable(iova, mapping.size)) this.answer(this.mappings.put(iova, mapping))
  }

  private isUsable(iova: number, size: number): boolean {
    return this.port.info.usable.some(({ start, end }) => iova >= start && iova + size - 1 <= end)
  }

  private answer(result: number): Outcome {
    if (result >= 0) return Outcome.ok
    this.lastRefusal = this.describe(-result)
    if (!this.told.has(this.lastRefusal)) {
      this.told.add(this.lastRefusal)
      this.warn(`${this.name}: ${this.lastRefusal}`)
    }
    return result === -ENOSPC || result === -ENOMEM ? Outcome.noMemory : Outcome.deviceError
  }

  private describe(errno: number): string {
    const { limit } = this.port.info
    if (errno === ENOSPC && limit !== undefined)
      return `the host takes no more than ${limit} mappings (parameter dma_entry_limit of vfio_iommu_type1)`
    const text = refusal('MAP', errno)
    return errno === ENOMEM ? `${text}: this process may lock no more memory (ulimit -l)` : text
  }
}

/** Where a piece of a window's memory shows. */
function place(
  start: number,
  { phys, flags }: Window,
  { start: at, size, hostAddress, isPeer }: MemoryPiece,
): { readonly iova: number; readonly mapping: HostMapping } {
  return { iova: start + at - phys, mapping: { size, hostAddress, flags, isPeer } }
}

function refusal(call: 'MAP' | 'UNMAP', errno: number): string {
  return `VFIO_IOMMU_${call}_DMA failed: ${errnoName(errno)} (errno ${errno})`
}

function isSame(a: HostMapping, b: HostMapping): boolean {
  return a.size === b.size && a.hostAddress === b.hostAddress
}

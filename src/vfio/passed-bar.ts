/**
 * A memory BAR of a passed-through device. What the host lets this process map, the guest reaches without an exit; the
 * pages of the MSI-X table and pending bits are left out, and every access outside is a read or write of the region. The
 * handler serves the whole BAR: the host may refuse a mapping, and the machine itself may look at registers.
 */
import { alignDown, alignUp } from '../base/bits.ts'
import { SysError } from '../base/errors.ts'
import type { Mapping } from '../host/mapping.ts'
import type { Bar } from '../pci/function.ts'
import type { VfioDevice, VfioRegion } from './device.ts'
import type { GuestSpace } from './guest-space.ts'
import type { PeerMemory } from './peer-memory.ts'

/** Page size of every host that there is so far; also the least that a BAR is shown with. */
export const HOST_PAGE = 4096

/** Part of a BAR. */
export interface BarArea {
  readonly offset: number
  readonly size: number
}

export interface PassedBarOptions {
  readonly index: number
  readonly kind: Bar['kind']
  readonly prefetchable: boolean
  readonly name: string
  readonly device: VfioDevice
  readonly region: VfioRegion
  /** What has to come to the handler. */
  readonly trapped: readonly BarArea[]
  readonly space: GuestSpace
  readonly peers: PeerMemory
  readonly warn: (message: string) => void
}

/** See above. */
export class PassedBar {
  readonly bar: Bar
  /** Accesses that came to the handler. */
  accesses = 0
  private readonly areas: readonly BarArea[]
  /** Of the areas that could be mapped, by offset; made when the guest first maps the BAR. */
  private mappings: ReadonlyMap<BarArea, Mapping> | undefined
  /** Guest-physical starts and sizes of what the guest reaches at present, by rising address. */
  private readonly reached: BarArea[] = []
  private hasWarned = false

  constructor(private readonly options: PassedBarOptions) {
    const { index, kind, prefetchable, name, region, trapped } = options
    this.areas = withoutPages(region.mappable, trapped)
    this.bar = {
      index,
      size: Math.max(region.size, HOST_PAGE),
      kind,
      prefetchable,
      name,
      handler: {
        read: (offset, size) => this.read(offset, size),
        write: (offset, size, value) => this.write(offset, size, value),
      },
      onMap: address => {
        this.leave()
        if (address !== undefined) this.reach(address)
      },
    }
  }

  /** Bytes that the guest reaches without an exit. */
  get mappedBytes(): number {
    return this.reached.reduce((sum, { size }) => sum + size, 0)
  }

  /** Gives everything back; the BAR is on no bus any more. */
  close(): void {
    using mappings = new DisposableStack()
    for (const mapping of this.mappings?.values() ?? []) mappings.use(mapping)
    this.mappings = undefined
    this.leave()
  }

  private reach(address: number): void {
    const { space, peers } = this.options
    this.mappings ??= this.map()
    for (const [{ offset, size }, mapping] of this.mappings) {
      const start = address + offset
      if (!this.attempt(() => space.map(start, size, mapping.address))) continue
      this.reached.push({ offset: start, size })
      peers.add(start, size, mapping.address)
    }
  }

  /** Other devices first: they must not reach what is gone. */
  private leave(): void {
    const { space, peers } = this.options
    for (let last = this.reached.at(-1); last !== undefined; last = this.reached.at(-1)) {
      peers.remove(last.offset)
      space.unmap(last.offset)
      // Only what is gone: where the host refuses, the next attempt begins here.
      this.reached.pop()
    }
  }

  private map(): ReadonlyMap<BarArea, Mapping> {
    const { device, region } = this.options
    const mappings = new Map<BarArea, Mapping>()
    for (const area of this.areas)
      this.attempt(() => {
        mappings.set(area, device.map(region.index, area.offset, area.size))
      })
    return mappings
  }

  /** False if the host refuses: the area is trapped then, which is slow but right. */
  private attempt(task: () => void): boolean {
    try {
      task()
      return true
    } catch (error) {
      if (!(error instanceof SysError)) throw error
      if (!this.hasWarned) this.options.warn(`accesses to its BAR ${this.options.index} are slow: ${error.message}`)
      this.hasWarned = true
      return false
    }
  }

  private read(offset: number, size: number): number {
    const { device, region } = this.options
    this.accesses++
    return offset + size <= region.size ? device.read(region.index, offset, size) : 2 ** (8 * size) - 1
  }

  private write(offset: number, size: number, value: number): void {
    const { device, region } = this.options
    this.accesses++
    if (offset + size <= region.size) device.write(region.index, offset, size, value)
  }
}

/** `areas` without the pages that `holes` touch. */
function withoutPages(areas: readonly BarArea[], holes: readonly BarArea[]): readonly BarArea[] {
  let rest = areas
  for (const hole of holes) {
    const start = alignDown(hole.offset, HOST_PAGE)
    const end = alignUp(hole.offset + hole.size, HOST_PAGE)
    rest = rest.flatMap(({ offset, size }) => {
      const behind = Math.max(offset, end)
      return [
        { offset, size: Math.min(offset + size, start) - offset },
        { offset: behind, size: offset + size - behind },
      ].filter(area => area.size > 0)
    })
  }
  return rest
}

/**
 * Which BARs are on the MMIO bus. A guest chooses addresses freely, so a BAR that it put where no bridge leads, or over
 * another range, is on no bus until something changes that: another BAR went away, or a bridge's window moved.
 */
import type { Bus, DebugLog } from '../bus/bus.ts'
import type { Bar, BarPlace } from './function.ts'

/** Lines before the log falls silent: a guest may move BARs for ever. */
const LOG_LIMIT = 64

/** A BAR and where it should be. */
interface Placement {
  readonly bar: Bar
  /** Whether the bridges above lead all of the BAR there. */
  readonly isReachable: (start: number, size: number) => boolean
  wanted: number | undefined
  mapped: number | undefined
  /** The address at which it was in the way last, so that this is said once. */
  refused: number | undefined
}

/** All BARs of a machine. */
export class PciAddressSpace {
  private readonly placements: Placement[] = []
  private logged = 0

  constructor(
    private readonly mmio: Bus,
    private readonly debug: DebugLog = () => {},
  ) {}

  /** Takes a BAR in, nowhere at first. */
  add(bar: Bar, isReachable: (start: number, size: number) => boolean): BarPlace {
    const placement: Placement = { bar, isReachable, wanted: undefined, mapped: undefined, refused: undefined }
    this.placements.push(placement)
    return {
      place: address => {
        if (address === placement.wanted) return
        placement.wanted = address
        placement.refused = undefined
        this.update()
      },
      release: () => {
        const index = this.placements.indexOf(placement)
        if (index < 0) return
        placement.wanted = undefined
        this.update()
        this.placements.splice(index, 1)
      },
    }
  }

  /** Looks at every BAR again: a bridge's window has changed. */
  update(): void {
    // First everything that has to go, so that what comes finds the room; doorbells and bus agree at every step.
    for (const placement of this.placements)
      if (placement.mapped !== undefined && placement.mapped !== this.target(placement)) this.unmap(placement)
    for (const placement of this.placements) {
      const address = this.target(placement)
      if (placement.mapped === undefined && address !== undefined) this.map(placement, address)
      else if (placement.mapped === undefined && placement.wanted !== undefined)
        this.refuse(placement, placement.wanted, 'where no bridge leads')
    }
  }

  private target({ bar, wanted, isReachable }: Placement): number | undefined {
    return wanted !== undefined && isReachable(wanted, bar.size) ? wanted : undefined
  }

  private map(placement: Placement, address: number): void {
    const { bar } = placement
    if (!this.mmio.isFree(address, bar.size)) {
      this.refuse(placement, address, 'over another range')
      return
    }
    this.mmio.add({ name: bar.name, start: address, size: bar.size }, bar.handler)
    placement.mapped = address
    bar.onMap?.(address)
  }

  private unmap(placement: Placement): void {
    placement.bar.onMap?.(undefined)
    this.mmio.remove(placement.mapped as number)
    placement.mapped = undefined
  }

  private refuse(placement: Placement, address: number, reason: string): void {
    if (placement.refused === address) return
    placement.refused = address
    if (this.logged++ >= LOG_LIMIT) return
    const { name, index } = placement.bar
    this.debug(`pci: BAR ${index} of ${name} is at 0x${address.toString(16)}, ${reason}`)
  }
}

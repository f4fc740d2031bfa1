/** A PCI function as the bus sees it, and the slot as the function sees it. */
import type { BusHandler } from '../bus/bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import type { PciBridge } from './bridge.ts'
import type { LevelInterrupt } from './host.ts'

/** A memory BAR of a function. */
export interface Bar {
  /** 0 to 5; a 64-bit BAR also takes the next one. 6: the expansion ROM. */
  readonly index: number
  /** Bytes; a power of two, at least 4096 (so that no two BARs share a page). */
  readonly size: number
  readonly kind: 'memory32' | 'memory64'
  readonly prefetchable: boolean
  readonly name: string
  readonly handler: BusHandler
  /** The guest mapped the BAR at `address`, or unmapped it (also when memory decoding goes off). */
  onMap?(address: number | undefined): void
}

/** A BAR's way to the machine's address space. */
export interface BarPlace {
  /** Maps the BAR at `address` as soon as the bridges above lead there and nothing else has it; or nowhere. */
  place(address: number | undefined): void
  /** Unmaps the BAR for good. */
  release(): void
}

/** Where a function is plugged in. */
export interface PciSlot {
  /** 0 to 31. */
  readonly device: number
  /** 0 to 7. */
  readonly function: number
  /** bus << 8 | device << 3 | function, with the bus number that the guest gave to the bus at present. */
  readonly requesterId: number
  /** The ID that requests of the function reach the root bus with: behind a bridge to a conventional bus, another. */
  readonly dmaRequesterId: number
  /** Whether this is the root bus, where no port is above. */
  readonly isRoot: boolean
  /** Whether this is a conventional bus, on which there is no PCI Express. */
  readonly isConventional: boolean
  /** Makes a BAR known to the address space, nowhere yet; `isReachable` narrows where it can be, as bridges do. */
  addBar(bar: Bar, isReachable?: (start: number, size: number) => boolean): BarPlace
  /** Looks at all BARs again: a bridge forwards other addresses than before. */
  updateBars(): void
  /** The interrupt line that `pin` (1 to 4) comes out at. */
  line(pin: number): InterruptLine
  /** The same line for a source outside. */
  levelInterrupt(pin: number): LevelInterrupt
}

/** One function: configuration space and what hangs on it. */
export interface PciFunction {
  readonly name: string
  readonly bars: readonly Bar[]
  /** Present in a type 1 function: the bus below it. */
  readonly bridge?: PciBridge
  /** The function was plugged into `slot`; called once, before anything else from the guest's side. */
  attach(slot: PciSlot): void
  /** Configuration space, 4096 bytes. `size` is 1, 2 or 4 and `offset` is a multiple of it. */
  readConfig(offset: number, size: number): number
  writeConfig(offset: number, size: number, value: number): void
  /** Back to power-on, as at a reset of the bus; may end later (devices finish what is under way). */
  reset(): void
  close(): void
}

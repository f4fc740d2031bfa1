/** A PCI function as the bus sees it. */
import type { BusHandler } from '../bus/bus.ts'

/** A memory BAR of a function. */
export interface Bar {
  /** 0 to 5; a 64-bit BAR also takes the next one. */
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

/** One function: configuration space and what hangs on it. */
export interface PciFunction {
  readonly name: string
  readonly bars: readonly Bar[]
  /** Configuration space, 4096 bytes. `size` is 1, 2 or 4 and `offset` is a multiple of it. */
  readConfig(offset: number, size: number): number
  writeConfig(offset: number, size: number, value: number): void
  /** Back to power-on, as at a reset of the bus; may end later (devices finish what is under way). */
  reset(): void
  close(): void
}

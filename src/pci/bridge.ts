/** What a PCI-to-PCI bridge (or root port) is to the buses on both sides of it. PCI-to-PCI Bridge 1.2 §3.2. */
import type { PciBus } from './bus.ts'

/** The bridge's registers that decide which accesses go down. */
export interface PciBridge {
  /** The bus below. */
  readonly bus: PciBus
  /** Number of the bus below, as the guest programmed it. */
  readonly secondary: number
  /** Highest bus number below. */
  readonly subordinate: number
  /** Whether memory accesses to all of [start, start + size) go down. */
  forwards(start: number, size: number): boolean
}

/**
 * The base address registers of a type 0 function: what a guest reads when it sizes them, and where the BARs are then.
 * PCI Local Bus 3.0 §6.2.5.1.
 */
import { isPowerOfTwo } from '../base/bits.ts'
import { assert } from '../base/errors.ts'
import type { ConfigSpace } from './config-space.ts'
import type { Bar, BarPlace, PciSlot } from './function.ts'
import {
  PCI_BASE_ADDRESS_0,
  PCI_BASE_ADDRESS_MEM_PREFETCH,
  PCI_BASE_ADDRESS_MEM_TYPE_64,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
} from './registers.ts'

const REGISTERS = 6
const PAGE = 4096
const TWO_32 = 0x1_0000_0000
/** The bits of the low register that hold no address. */
const TYPE_BITS = 0xf

/** The registers, and the BARs on the bus. */
export class Bars {
  private places: readonly (readonly [Bar, BarPlace])[] = []

  constructor(
    private readonly config: ConfigSpace,
    private readonly bars: readonly Bar[],
    /** Whether the function answers at all besides the command register's bit: a power state may forbid it. */
    private readonly isAwake: () => boolean = () => true,
  ) {
    const taken = new Set<number>()
    for (const bar of bars) {
      const width = bar.kind === 'memory64' ? 2 : 1
      assert(bar.index >= 0 && bar.index + width <= REGISTERS, `${bar.name}: a function has six BARs`)
      assert(bar.size >= PAGE && isPowerOfTwo(bar.size), `${bar.name}: a BAR is a power of two of pages`)
      assert(bar.kind === 'memory64' || bar.size < TWO_32, `${bar.name}: a 32-bit BAR is below 4 GiB`)
      for (let i = bar.index; i < bar.index + width; i++) {
        assert(!taken.has(i), `${bar.name}: BAR ${i} is free`)
        taken.add(i)
      }
      this.define(bar)
    }
    config.onWrite(PCI_BASE_ADDRESS_0, 4 * REGISTERS, () => this.update())
  }

  /** From now on the BARs are on the bus of `slot` as the registers say. */
  attach(slot: PciSlot): void {
    this.places = this.bars.map(bar => [bar, slot.addBar(bar)] as const)
    this.update()
  }

  /** Maps, moves and unmaps what the registers ask for; the command register's owner calls this too. */
  update(): void {
    const on = this.isAwake() && (this.config.view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY) !== 0
    for (const [bar, place] of this.places) place.place(on ? this.address(bar) : undefined)
  }

  close(): void {
    for (const [, place] of this.places) place.release()
    this.places = []
  }

  private address(bar: Bar): number {
    const at = PCI_BASE_ADDRESS_0 + 4 * bar.index
    const low = (this.config.view.getUint32(at, true) & ~TYPE_BITS) >>> 0
    return bar.kind === 'memory64' ? low + TWO_32 * this.config.view.getUint32(at + 4, true) : low
  }

  private define(bar: Bar): void {
    const at = PCI_BASE_ADDRESS_0 + 4 * bar.index
    const type = bar.kind === 'memory64' ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0
    const prefetch = bar.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0
    // The address bits below the size read as zero: that is how the guest learns the size.
    const low = bar.size >= TWO_32 ? 0 : (~(bar.size - 1) & ~TYPE_BITS) >>> 0
    const high = bar.size >= TWO_32 ? ~(bar.size / TWO_32 - 1) >>> 0 : 0xffff_ffff
    this.config.define(at, 4, type | prefetch, low)
    if (bar.kind === 'memory64') this.config.define(at + 4, 4, 0, high)
  }
}

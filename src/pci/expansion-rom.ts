/**
 * The expansion ROM base address register: a BAR with an enable bit of its own, 32 bits wide, read-only.
 * PCI Local Bus 3.0 §6.2.5.2.
 */
import { isPowerOfTwo } from '../base/bits.ts'
import { assert } from '../base/errors.ts'
import type { ConfigSpace } from './config-space.ts'
import type { BarPlace, PciSlot } from './function.ts'
import { PCI_COMMAND, PCI_COMMAND_MEMORY, PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_ENABLE } from './registers.ts'

const PAGE = 4096
const MAX_SIZE = 2 ** 24
const ROM_INDEX = 6
/** What a ROM answers where it has no bytes: erased cells. */
const ERASED = 0xff

export interface ExpansionRomOptions {
  readonly name: string
  /** A power of two from a page to 16 MiB. */
  readonly size: number
  /** Called at the first read; at most `size` bytes. */
  readonly content: () => Uint8Array
  /** Whether the function answers at all besides the command register's bit; absent: always. */
  readonly isAwake?: () => boolean
}

/** See above. */
export class ExpansionRom {
  private place: BarPlace | undefined
  private bytes: Uint8Array | undefined

  constructor(
    private readonly config: ConfigSpace,
    private readonly options: ExpansionRomOptions,
  ) {
    const { name, size } = options
    assert(
      isPowerOfTwo(size) && size >= PAGE && size <= MAX_SIZE,
      `${name}: a ROM is a power of two of pages to 16 MiB`,
    )
    config.define(PCI_ROM_ADDRESS, 4, 0, (~(size - 1) | PCI_ROM_ADDRESS_ENABLE) >>> 0)
    config.onWrite(PCI_ROM_ADDRESS, 4, () => this.update())
  }

  attach(slot: PciSlot): void {
    const { name, size } = this.options
    const handler = { read: (offset: number, length: number) => this.read(offset, length), write() {} }
    this.place = slot.addBar({ index: ROM_INDEX, size, kind: 'memory32', prefetchable: false, name, handler })
    this.update()
  }

  /** Maps or unmaps it as the registers say; the command register's owner calls this too. */
  update(): void {
    const { view } = this.config
    const register = view.getUint32(PCI_ROM_ADDRESS, true)
    const { isAwake = () => true } = this.options
    const isOn =
      isAwake() &&
      (register & PCI_ROM_ADDRESS_ENABLE) !== 0 &&
      (view.getUint16(PCI_COMMAND, true) & PCI_COMMAND_MEMORY) !== 0
    this.place?.place(isOn ? (register & ~PCI_ROM_ADDRESS_ENABLE) >>> 0 : undefined)
  }

  close(): void {
    this.place?.release()
    this.place = undefined
  }

  private read(offset: number, length: number): number {
    this.bytes ??= this.options.content()
    let value = 0
    for (let i = length - 1; i >= 0; i--) value = value * 256 + (this.bytes[offset + i] ?? ERASED)
    return value
  }
}

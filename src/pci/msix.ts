/**
 * MSI-X: capability, vector table and pending bits, in front of the machine's vectors. PCI Local Bus 3.0 §6.8.2,
 * PCI Express 5.0 §6.1.4 and §7.7.2.
 *
 * A vector is connected while its message can go out. Connecting costs system calls, so it happens only when something
 * changed: Linux writes address, upper address and data of a masked entry one by one, and unmasks it then.
 */
import { assert } from '../base/errors.ts'
import type { BusHandler } from '../bus/bus.ts'
import type { Capability } from './config-space.ts'
import type { MsiMessage, MsiVector, PciHost } from './host.ts'
import { PCI_CAP_ID_MSIX } from './registers.ts'

/** Where MSI-X is. Table and pending bits may share a BAR with the device's registers; they must not overlap them. */
export interface MsixPlace {
  /** 1 to 2048. */
  readonly vectors: number
  /** Index of the BAR that the table is in. */
  readonly bar: number
  /** Of the pending bits; absent: the same. */
  readonly pbaBar?: number
  /** Both multiples of 8. 16 bytes a vector. */
  readonly tableOffset: number
  /** 8 bytes for each 64 vectors. */
  readonly pbaOffset: number
}

const CAPABILITY_SIZE = 12
const TABLE_AT = 4
const PBA_AT = 8
/** Message control. */
const CONTROL_AT = 2
const Control = { functionMask: 0x4000, enable: 0x8000 } as const
/** Bit 0 of an entry's vector control. */
const MASKED = 1

const MAX_VECTORS = 2048
const ENTRY_SIZE = 16
const WORDS = 4
const DATA = 2
const VECTOR_CONTROL = 3
const VECTORS_PER_PBA_DWORD = 32

/** The vectors of one function. */
export class Msix {
  readonly vectors: readonly MsiVector[]
  /** For the function's list. */
  readonly capability: Capability
  /** The table's registers. */
  readonly table: BusHandler
  readonly tableSize: number
  /** The pending bits. */
  readonly pba: BusHandler
  readonly pbaSize: number
  private readonly entries: Uint32Array<ArrayBuffer>
  private readonly connected: (MsiMessage | undefined)[]
  private control = 0

  /** `mayWrite` tells whether the function is a bus master: a message is a write to memory. */
  constructor(
    readonly place: MsixPlace,
    host: Pick<PciHost, 'createVector'>,
    requester: () => number,
    private readonly mayWrite: () => boolean,
    private readonly onChange: () => void = () => {},
  ) {
    const { vectors: count, bar, pbaBar = bar, tableOffset, pbaOffset } = place
    assert(count >= 1 && count <= MAX_VECTORS, 'a function has 1 to 2048 MSI-X vectors')
    assert(tableOffset % 8 === 0 && pbaOffset % 8 === 0, 'MSI-X table and PBA lie at multiples of 8')
    this.vectors = createVectors(count, host, requester)
    this.connected = this.vectors.map(() => undefined)
    this.entries = new Uint32Array(new ArrayBuffer(count * ENTRY_SIZE))
    this.tableSize = count * ENTRY_SIZE
    this.pbaSize = pbaBytes(count)
    this.clearTable()
    this.table = { read: (offset, size) => this.readTable(offset, size), write: (o, s, v) => this.writeTable(o, s, v) }
    this.pba = { read: (offset, size) => this.readPending(offset, size), write() {} }

    const bytes = new Uint8Array(CAPABILITY_SIZE)
    const view = new DataView(bytes.buffer)
    view.setUint8(0, PCI_CAP_ID_MSIX)
    view.setUint16(CONTROL_AT, count - 1, true)
    view.setUint32(TABLE_AT, tableOffset | bar, true)
    view.setUint32(PBA_AT, pbaOffset | pbaBar, true)
    const writable = new Uint8Array([0, 0, 0, (Control.enable | Control.functionMask) >>> 8])
    const onWrite = (_offset: number, _size: number, _value: number, stored: DataView) =>
      this.setControl(stored.getUint16(CONTROL_AT, true))
    this.capability = { bytes, writable, onWrite }
  }

  /** Whether the guest uses MSI-X; the function's pin is silent then. */
  get enabled(): boolean {
    return (this.control & Control.enable) !== 0
  }

  /** Connects or disconnects all vectors as things are now: the function became a bus master, or is none any more. */
  update(): void {
    for (let index = 0; index < this.vectors.length; index++) this.apply(index)
  }

  /** Power-on: disabled, every vector masked, nothing pending. */
  reset(): void {
    this.control = 0
    this.clearTable()
    this.update()
    for (const vector of this.vectors) vector.clear()
  }

  close(): void {
    for (const vector of this.vectors) vector.close()
  }

  private setControl(value: number): void {
    const control = value & (Control.enable | Control.functionMask)
    if (control === this.control) return
    const wasEnabled = this.enabled
    this.control = control
    this.update()
    if (wasEnabled === this.enabled) return
    // Interrupts of the time before are not those of the driver that enables MSI-X next.
    if (wasEnabled) for (const vector of this.vectors) vector.clear()
    this.onChange()
  }

  private clearTable(): void {
    for (let at = 0; at < this.entries.length; at++) this.entries[at] = at % WORDS === VECTOR_CONTROL ? MASKED : 0
  }

  private readTable(offset: number, size: number): number {
    if (offset % size !== 0 || offset >= this.tableSize) return 0
    return part(this.entries[offset >>> 2] as number, offset, size)
  }

  /** Only dwords and qwords are defined (§6.8.2); the bus makes two dwords of a qword, smaller writes set their part. */
  private writeTable(offset: number, size: number, value: number): void {
    if (offset % size !== 0 || offset >= this.tableSize) return
    const word = offset >>> 2
    const field = word % WORDS
    const merged = merge(this.entries[word] as number, offset, size, value)
    this.entries[word] = field === 0 ? merged & ~3 : field === VECTOR_CONTROL ? merged & MASKED : merged
    // An unmasked entry that is rewritten is undefined (§6.8.2): taken over with its last part, never half-written.
    if (field === DATA || field === VECTOR_CONTROL) this.apply(Math.floor(word / WORDS))
  }

  private readPending(offset: number, size: number): number {
    const first = Math.floor(offset / 4) * VECTORS_PER_PBA_DWORD
    let bits = 0
    for (let i = 0; i < VECTORS_PER_PBA_DWORD; i++) if (this.vectors[first + i]?.pending === true) bits |= 1 << i
    return part(bits, offset, size)
  }

  private apply(index: number): void {
    const at = index * WORDS
    const open = this.enabled && (this.control & Control.functionMask) === 0 && this.mayWrite()
    const present = this.connected[index]
    if (!open || (this.entries[at + VECTOR_CONTROL] as number) !== 0) {
      if (present !== undefined) this.connect(index, undefined)
      return
    }
    const address = (this.entries[at] as number) + 0x1_0000_0000 * (this.entries[at + 1] as number)
    const data = this.entries[at + DATA] as number
    if (present?.address !== address || present.data !== data) this.connect(index, { address, data })
  }

  private connect(index: number, message: MsiMessage | undefined): void {
    this.connected[index] = message
    this.vectors[index]?.connect(message)
  }
}

/** All of them, or none: each is a descriptor, which the host may run out of. */
function createVectors(
  count: number,
  host: Pick<PciHost, 'createVector'>,
  requester: () => number,
): readonly MsiVector[] {
  using opened = new DisposableStack()
  const vectors = Array.from({ length: count }, () =>
    opened.adopt(host.createVector(requester), vector => vector.close()),
  )
  opened.move()
  return vectors
}

/** Bytes of the pending bits of `vectors` vectors: whole qwords. */
export function pbaBytes(vectors: number): number {
  return Math.ceil(vectors / 64) * 8
}

/** `size` bytes of the dword that holds `offset`. */
function part(word: number, offset: number, size: number): number {
  const shifted = word >>> (8 * (offset & 3))
  return size === 1 ? shifted & 0xff : size === 2 ? shifted & 0xffff : shifted >>> 0
}

/** `word` with the `size` bytes from `offset` on replaced. */
function merge(word: number, offset: number, size: number, value: number): number {
  if (size >= 4) return value >>> 0
  const shift = 8 * (offset & 3)
  const mask = (size === 1 ? 0xff : 0xffff) << shift
  return ((word & ~mask) | ((value << shift) & mask)) >>> 0
}

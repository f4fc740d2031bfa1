/**
 * A function's 4096 bytes of configuration space: which bits the guest may write, which it clears by writing ones, the
 * two capability lists, and hooks for registers that do something. What is not defined reads as zero and ignores
 * writes (PCI Local Bus 3.0 §6.1).
 */
import { alignUp } from '../base/bits.ts'
import { assert } from '../base/errors.ts'
import {
  CONFIG_SPACE_SIZE,
  CONVENTIONAL_SIZE,
  PCI_CAPABILITY_LIST,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
} from './registers.ts'

/** An item of the capability list. */
export interface Capability {
  /**
   * The whole capability from its ID byte on (which the caller sets); byte 1, the link to the next one, is filled in.
   * Offsets below count from here, as the specifications have them. Copied.
   */
  readonly bytes: Uint8Array
  /** Bits that the guest may write, byte by byte; absent or short: none. */
  readonly writable?: Uint8Array
  /** Bits that the guest clears by writing ones, byte by byte. */
  readonly clearable?: Uint8Array
  /**
   * Asked at a read that touches the capability; an answer replaces the stored bytes. `stored` is the capability as it
   * is at present, which the hook may change.
   */
  readonly onRead?: (offset: number, size: number, stored: DataView) => number | undefined
  /** Told after a write, when the writable bits are stored. `value` is as written. */
  readonly onWrite?: (offset: number, size: number, value: number, stored: DataView) => void
}

/** An item of the extended list: the first four bytes of `bytes` are filled in. PCI Express 5.0 §7.6.3. */
export interface ExtendedCapability extends Capability {
  readonly id: number
  readonly version: number
}

/** A register that does something; offsets are relative to its start. */
interface Hook {
  readonly start: number
  readonly end: number
  readonly onRead?: (offset: number, size: number) => number | undefined
  readonly onWrite?: (offset: number, size: number, value: number) => void
}

/** Told that bytes of a register were written, with their offset from its start. */
export type WriteHook = (offset: number, size: number, value: number) => void

/** See above. */
export class ConfigSpace {
  /** What is stored; a device changes its own read-only bits here. */
  readonly view: DataView
  private readonly bytes = new Uint8Array(new ArrayBuffer(CONFIG_SPACE_SIZE))
  private readonly initial = new Uint8Array(CONFIG_SPACE_SIZE)
  private readonly writable = new Uint8Array(CONFIG_SPACE_SIZE)
  private readonly clearable = new Uint8Array(CONFIG_SPACE_SIZE)
  private readonly hooks: Hook[] = []
  private nextCapability = PCI_STD_HEADER_SIZEOF
  private lastLink = PCI_CAPABILITY_LIST
  private nextExtended = CONVENTIONAL_SIZE
  private lastExtended = 0

  constructor() {
    this.view = new DataView(this.bytes.buffer)
  }

  /** Sets a register's value at power-on, the bits that the guest may write, and those it clears by writing ones. */
  define(offset: number, size: 1 | 2 | 4, value: number, writable = 0, clearable = 0): void {
    for (let i = 0; i < size; i++) {
      this.bytes[offset + i] = this.initial[offset + i] = value >>> (8 * i)
      this.writable[offset + i] = writable >>> (8 * i)
      this.clearable[offset + i] = clearable >>> (8 * i)
    }
  }

  /** Calls `hook` after each write that touches the `size` bytes at `start`. */
  onWrite(start: number, size: number, hook: WriteHook): void {
    this.hooks.push({ start, end: start + size, onWrite: hook })
  }

  /** Appends to the capability list, by default behind the one before; returns where the capability lies. */
  addCapability(capability: Capability, at = this.nextCapability): number {
    const size = capability.bytes.length
    assert(at + size <= CONVENTIONAL_SIZE, 'the capabilities fit below 0x100')
    this.place(at, capability)
    this.define(at + 1, 1, 0)
    this.define(this.lastLink, 1, at)
    const status = this.view.getUint8(PCI_STATUS) | PCI_STATUS_CAP_LIST
    this.view.setUint8(PCI_STATUS, status)
    this.initial[PCI_STATUS] = status
    this.lastLink = at + 1
    this.nextCapability = Math.max(this.nextCapability, alignUp(at + size, 4))
    return at
  }

  /** Appends to the extended capability list as `addCapability` does; the first one has to lie at 0x100. */
  addExtendedCapability(capability: ExtendedCapability, at = this.nextExtended): number {
    const size = capability.bytes.length
    assert(at + size <= CONFIG_SPACE_SIZE, 'the extended capabilities fit below 0x1000')
    this.place(at, capability)
    this.define(at, 4, capability.id | (capability.version << 16))
    if (this.lastExtended !== 0)
      this.define(this.lastExtended, 4, this.view.getUint32(this.lastExtended, true) | (at << 20))
    this.lastExtended = at
    this.nextExtended = Math.max(this.nextExtended, alignUp(at + size, 4))
    return at
  }

  /** `size` is 1, 2 or 4 and `offset` is a multiple of it. */
  read(offset: number, size: number): number {
    for (const hook of this.hooks) {
      if (hook.onRead === undefined || offset >= hook.end || offset + size <= hook.start) continue
      const value = hook.onRead(offset - hook.start, size)
      if (value !== undefined) return value
    }
    return this.stored(offset, size)
  }

  /** As `read`; read-only bits keep their values. */
  write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      const at = offset + i
      const byte = (value >>> (8 * i)) & 0xff
      const mask = this.writable[at] as number
      const kept = (this.bytes[at] as number) & ~mask
      this.bytes[at] = (kept | (byte & mask)) & ~(byte & (this.clearable[at] as number))
    }
    for (const hook of this.hooks)
      if (hook.onWrite !== undefined && offset < hook.end && offset + size > hook.start)
        hook.onWrite(offset - hook.start, size, value)
  }

  /** Back to the values at power-on. */
  reset(): void {
    this.bytes.set(this.initial)
  }

  private stored(offset: number, size: number): number {
    if (size === 1) return this.view.getUint8(offset)
    return size === 2 ? this.view.getUint16(offset, true) : this.view.getUint32(offset, true)
  }

  private place(at: number, { bytes, writable, clearable, onRead, onWrite }: Capability): void {
    for (const [i, byte] of bytes.entries()) this.define(at + i, 1, byte, writable?.[i], clearable?.[i])
    const stored = new DataView(this.bytes.buffer, at, bytes.length)
    this.hooks.push({
      start: at,
      end: at + bytes.length,
      ...(onRead === undefined ? {} : { onRead: (offset, size) => onRead(offset, size, stored) }),
      ...(onWrite === undefined ? {} : { onWrite: (offset, size, value) => onWrite(offset, size, value, stored) }),
    })
  }
}

/**
 * MSI: the capability in front of the machine's vectors. One address, and a block of data values whose low bits are the
 * message's number. PCI Local Bus 3.0 §6.8.1, PCI Express 5.0 §6.1.4 and §7.7.1.
 */
import { isPowerOfTwo } from '../base/bits.ts'
import { assert } from '../base/errors.ts'
import type { Capability } from './config-space.ts'
import type { MsiMessage, MsiVector, PciHost } from './host.ts'
import { PCI_CAP_ID_MSI } from './registers.ts'

const PCI_MSI_FLAGS = 2
const PCI_MSI_FLAGS_ENABLE = 0x0001
const PCI_MSI_FLAGS_QSIZE = 0x0070
const PCI_MSI_FLAGS_64BIT = 0x0080
const PCI_MSI_FLAGS_MASKBIT = 0x0100
const QMASK_SHIFT = 1
const QSIZE_SHIFT = 4
const PCI_MSI_ADDRESS_LO = 4
const PCI_MSI_ADDRESS_HI = 8

const MAX_MESSAGES = 32
const TWO_32 = 0x1_0000_0000

/** The layout has four forms. */
export interface MsiForm {
  /** How many messages the function asks for: a power of two up to 32. */
  readonly messages: number
  readonly is64Bit: boolean
  /** Whether each message has a mask and a pending bit. */
  readonly isMaskable: boolean
}

/** The form that a message control register tells of; reserved encodings count as 32 messages. */
export function msiForm(flags: number): MsiForm {
  return {
    messages: Math.min(1 << ((flags >>> QMASK_SHIFT) & 7), MAX_MESSAGES),
    is64Bit: (flags & PCI_MSI_FLAGS_64BIT) !== 0,
    isMaskable: (flags & PCI_MSI_FLAGS_MASKBIT) !== 0,
  }
}

/** The messages of one function. */
export class Msi {
  readonly vectors: readonly MsiVector[]
  /** For the function's list. */
  readonly capability: Capability
  private readonly connected: (MsiMessage | undefined)[]
  private readonly dataAt: number
  private readonly maskAt: number
  private flags = 0
  private address = 0
  private data = 0
  private masks = 0

  /** `mayWrite` tells whether the function is a bus master: a message is a write to memory. */
  constructor(
    private readonly form: MsiForm,
    host: Pick<PciHost, 'createVector'>,
    requester: () => number,
    private readonly mayWrite: () => boolean,
    private readonly onChange: () => void = () => {},
  ) {
    const { messages, is64Bit, isMaskable } = form
    assert(isPowerOfTwo(messages) && messages <= MAX_MESSAGES, 'a function has 1 to 32 MSI messages')
    this.vectors = Array.from({ length: messages }, () => host.createVector(requester))
    this.connected = this.vectors.map(() => undefined)
    this.dataAt = is64Bit ? 12 : 8
    this.maskAt = this.dataAt + 4
    const pendingAt = this.maskAt + 4
    const size = isMaskable ? pendingAt + 4 : this.dataAt + 2

    const bytes = new Uint8Array(new ArrayBuffer(size))
    const writable = new Uint8Array(new ArrayBuffer(size))
    const view = new DataView(bytes.buffer)
    const mask = new DataView(writable.buffer)
    view.setUint8(0, PCI_CAP_ID_MSI)
    view.setUint16(
      PCI_MSI_FLAGS,
      (Math.log2(messages) << QMASK_SHIFT) |
        (is64Bit ? PCI_MSI_FLAGS_64BIT : 0) |
        (isMaskable ? PCI_MSI_FLAGS_MASKBIT : 0),
      true,
    )
    mask.setUint16(PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE, true)
    mask.setUint32(PCI_MSI_ADDRESS_LO, 0xffff_fffc, true)
    if (is64Bit) mask.setUint32(PCI_MSI_ADDRESS_HI, 0xffff_ffff, true)
    mask.setUint16(this.dataAt, 0xffff, true)
    if (isMaskable) mask.setUint32(this.maskAt, this.maskOfAll(), true)
    this.capability = {
      bytes,
      writable,
      onRead: (offset, length, stored) => {
        if (isMaskable && offset + length > pendingAt) stored.setUint32(pendingAt, this.pending(), true)
        return undefined
      },
      onWrite: (_offset, _size, _value, stored) => this.take(stored),
    }
  }

  /** Whether the guest uses MSI; the function's pin is silent then. */
  get enabled(): boolean {
    return (this.flags & PCI_MSI_FLAGS_ENABLE) !== 0
  }

  /** How many messages the guest allows. */
  get count(): number {
    return Math.min(1 << ((this.flags & PCI_MSI_FLAGS_QSIZE) >>> QSIZE_SHIFT), this.form.messages)
  }

  /** Connects or disconnects all vectors as things are now: the function became a bus master, or is none any more. */
  update(): void {
    const { address, data, count } = this
    for (const [index, vector] of this.vectors.entries()) {
      const isOpen = this.enabled && this.mayWrite() && index < count && (this.masks & (1 << index)) === 0
      // The function replaces as many low bits as there are messages (§6.8.1.3).
      const message = isOpen ? { address, data: (data & ~(count - 1)) | index } : undefined
      const present = this.connected[index]
      if (message?.address === present?.address && message?.data === present?.data) continue
      this.connected[index] = message
      vector.connect(message)
    }
  }

  /** Power-on: disabled, nothing pending. */
  reset(): void {
    this.flags = this.address = this.data = this.masks = 0
    this.update()
    for (const vector of this.vectors) vector.clear()
  }

  close(): void {
    for (const vector of this.vectors) vector.close()
  }

  private take(stored: DataView): void {
    const wasEnabled = this.enabled
    const { is64Bit, isMaskable } = this.form
    this.flags = stored.getUint16(PCI_MSI_FLAGS, true)
    const high = is64Bit ? stored.getUint32(PCI_MSI_ADDRESS_HI, true) : 0
    this.address = stored.getUint32(PCI_MSI_ADDRESS_LO, true) + TWO_32 * high
    this.data = stored.getUint16(this.dataAt, true)
    this.masks = isMaskable ? stored.getUint32(this.maskAt, true) : 0
    this.update()
    if (wasEnabled === this.enabled) return
    // Interrupts of the time before are not those of the driver that enables MSI next.
    if (wasEnabled) for (const vector of this.vectors) vector.clear()
    this.onChange()
  }

  private pending(): number {
    let bits = 0
    for (const [index, vector] of this.vectors.entries()) if (vector.pending) bits |= 1 << index
    return bits >>> 0
  }

  private maskOfAll(): number {
    return 2 ** this.form.messages - 1
  }
}

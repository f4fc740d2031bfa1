/** One port of a console device: the host's side as an interface, and what the device knows of the port. */
import type { Extents } from '../memory/extents.ts'

/** The host's side of a port: a stream in each direction. Nothing blocks. */
export interface ConsolePort {
  /** How the guest finds the port (/dev/virtio-ports/NAME); '' for none. */
  readonly name: string
  /** A console (hvc) rather than a stream of bytes. */
  readonly isConsole: boolean
  /** Bytes of input that wait for the guest. */
  readonly available: number
  /** Takes as much input as there is and fits `target`; returns how many bytes. */
  read(target: Uint8Array): number
  /** Output of the guest's: returns how many bytes there was room for. After fewer than all, tell the device of room. */
  write(bytes: Uint8Array): number
  /** A program in the guest opened the port, or closed it; what it wrote before that has been handed over. */
  guestOpened(isOpen: boolean): void
}

/** Control messages that the device owes the driver for a port; masks, sent from the lowest up. */
export const Owed = { add: 0x01, console: 0x02, resize: 0x04, name: 0x08, open: 0x10 } as const

/** A port's state between the device's activation and its reset. Messages are flags: however often, they take no room. */
export class PortState {
  /** `Owed` messages. */
  owed = 0
  /** The driver has set the port up. */
  isReady = false
  /** A program in the guest has it open. */
  isGuestOpen = false
  /** The same, as far as the host was told. */
  private isToldGuestOpen = false
  /** The host's side is open, as the driver was told. */
  isToldOpen = false
  /** Bytes of the first chain in the transmit queue that the host has taken. */
  sent = 0
  /** Work goes on later, by direction: a guest must not hold up other devices. */
  isReceiveDeferred = false
  isTransmitDeferred = false
  /** The host's side is open. */
  isHostOpen = true
  columns = 0
  rows = 0

  constructor(readonly port: ConsolePort) {}

  /** What the driver should believe: a side that closed stays open until the guest has all that it sent. */
  get isOpen(): boolean {
    return this.isHostOpen || this.port.available > 0
  }

  /** Forgets the driver. */
  reset(): void {
    this.owed = 0
    this.isReady = false
    this.isToldOpen = false
    this.sent = 0
    this.isGuestOpen = false
    this.tellGuestSide(false)
  }

  /** Tells the host of the guest's side; of its end only when no output of it is `pending`. */
  tellGuestSide(pending: boolean): void {
    if (this.isGuestOpen === this.isToldGuestOpen || (pending && !this.isGuestOpen)) return
    this.isToldGuestOpen = this.isGuestOpen
    this.port.guestOpened(this.isGuestOpen)
  }

  /** Fills a buffer of the guest's with input; returns how many bytes. */
  fill(buffer: Extents): number {
    let done = 0
    for (let i = 0; i < buffer.count; i++) {
      const size = buffer.length(i)
      const count = this.port.read(buffer.memory.bytesAt(buffer.start(i), size))
      done += count
      if (count < size) break
    }
    return done
  }

  /** Sends what follows the first `sent` bytes of `buffer`; true when the host has taken all of it. */
  drain(buffer: Extents): boolean {
    let start = 0
    for (let i = 0; i < buffer.count; i++) {
      const size = buffer.length(i)
      const skip = this.sent - start
      start += size
      // With equal sizes, nothing of the piece is left.
      if (skip >= size) continue
      const count = this.port.write(buffer.memory.bytesAt(buffer.start(i) + skip, size - skip))
      this.sent += count
      if (count < size - skip) return false
    }
    this.sent = 0
    return true
  }
}

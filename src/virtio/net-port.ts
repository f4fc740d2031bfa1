/**
 * What the network device needs of the host. A port is one pair of queues' way out; src/backend has the real ones.
 *
 * Packets travel as in a queue's buffers: 12 bytes of header (net-header.ts), then the frame. A port that does not
 * pass headers leaves those 12 bytes alone and counts them all the same.
 */
import type { Extents } from '../memory/extents.ts'

/** `receive`: no packet now; `send`: no room now, and nothing was taken. An event follows. */
export const WOULD_BLOCK = -1
/** `receive`: the next packet is larger than the room; it waits for more room, or for `discard`. */
export const TOO_LARGE = -2
/** The host refused the packet (`send`), or the way out is gone (`receive`). */
export const FAILED = -3

/** One pair's way to the network. */
export interface NetPort {
  /** Where the header of the packet to send is put, checked, before `send`. */
  readonly header: DataView
  /** Appends a buffer to the room for what comes in; false when that would be too many pieces. */
  addRoom(buffer: Extents): boolean
  /** Removes the first `pieces` extents from the room: they have been used. */
  takeRoom(pieces: number): void
  /** Empties the room: nothing may be written to it any more. */
  clearRoom(): void
  /** Receives one packet to the start of the room: its size with header, or WOULD_BLOCK, TOO_LARGE, FAILED. */
  receive(): number
  /** Drops the packet that was TOO_LARGE. */
  discard(): void
  /** Sends `header` and what follows the first 12 bytes of `packet`: 0, WOULD_BLOCK or FAILED. */
  send(packet: Extents): number
}

/** What a backend tells the device, on the device's thread. */
export interface NetEvents {
  /** A packet arrived after `receive` had answered WOULD_BLOCK. */
  readable(pair: number): void
  /** There is room after `send` had answered WOULD_BLOCK. */
  writable(pair: number): void
  /** `linkUp` changed. */
  linkChanged(): void
}

/** All ports of a device, and what they have in common. */
export interface NetBackend {
  readonly ports: readonly NetPort[]
  /** Headers travel with the packets; else they mean nothing outside. */
  readonly passesHeader: boolean
  /** Those of HOST_OFFLOADS and GUEST_OFFLOADS that the other side can do. */
  readonly offloads: bigint
  readonly linkUp: boolean
  /** Called once, before anything else. */
  start(events: NetEvents): void
  /** What of GUEST_OFFLOADS may come in from now on; false when the host refuses. */
  setGuestOffloads(features: bigint): boolean
  /** Spreads what comes in over the first `count` ports; false when the host refuses. */
  setActivePairs(count: number): boolean
  /** Runs `task` soon, after others had their turn. */
  defer(task: () => void): void
  close(): void
}

/**
 * What a device needs of a program outside that serves its virtqueues directly in guest memory (vhost). The device
 * keeps its configuration space and the life cycle; the rings' content passes it by.
 */

/** A ring to be served. Addresses are guest-physical; each area is contiguous, in RAM. */
export interface VhostRing {
  readonly index: number
  readonly size: number
  readonly desc: number
  readonly driver: number
  readonly device: number
  /** The avail index to go on from. */
  readonly base: number
}

/** What the back end tells the device, never from within a call of the device. */
export interface VhostEvents {
  /** Ring `index` has used buffers, and the driver wants to know. */
  interrupt(index: number): void
  /**
   * The program is gone, and touches guest memory no more. All rings are stopped, and what it had taken and not given
   * back is not done. Rings that are started again are served when the program is back.
   */
  lost(reason: string): void
}

/** Owned by one device, on its thread. Nothing here blocks. */
export interface VhostBackend {
  /** The feature bits that it can work with, of the device as well as of the rings. */
  readonly features: bigint
  /** The driver has set DRIVER_OK with `features`: rings may be started from now on. */
  start(features: bigint, events: VhostEvents): void
  startRing(ring: VhostRing): void
  /** Stops a ring; `done` is called when guest memory is not touched any more on its behalf. Rings may be unknown. */
  stopRing(index: number, done: () => void): void
  /** The opposite of `start`, when all rings have been stopped. */
  stop(): void
  /** The driver notified ring `index`. */
  kick(index: number): void
  /** For good, in whatever state it is. */
  close(): void
}

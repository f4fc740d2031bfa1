/**
 * Register mirrors: registers that are read often and whose read changes nothing are published by their device,
 * so that a vCPU thread answers the guest from shared memory instead of asking the device thread.
 */

/** Where a device publishes the present values of its byte registers, by offset in its bus range. */
export interface RegisterMirror {
  /** From now on a read of `offset` gives `value` (0 to 255) and has no side effect. */
  publish(offset: number, value: number): void
  /** From now on a read of `offset` has a side effect (or is not known) and must reach the device. */
  withdraw(offset: number): void
}

/** For a device whose reads all reach it. */
export const NO_MIRROR: RegisterMirror = { publish() {}, withdraw() {} }

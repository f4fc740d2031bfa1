/** The one-shot timer a device is handed. */

/** Calls back in the thread that owns the device. */
export interface Timer {
  /** Calls `expired` once after `delayMs` (fractions count), in place of whatever was armed before. */
  arm(delayMs: number, expired: () => void): void
  /** Forgets what was armed, if anything. */
  cancel(): void
}

/** The entropy device on the main thread: nothing to check and nothing to open. */
import type { OpenDevice } from './environment.ts'

/** An entropy device in the configuration of a machine. */
export interface RngConfig {
  readonly kind: 'rng'
}

/** An entropy device for the device thread. */
export type RngPlan = Readonly<Record<never, never>>

/** Always works. */
export function openRng(_config: RngConfig): OpenDevice<RngPlan> {
  return { plan: {}, resources: { [Symbol.asyncDispose]: () => Promise.resolve() } }
}

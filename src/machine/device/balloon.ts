/** The balloon on the main thread. It needs nothing of the host but guest RAM. */
import { BadInput } from '../../base/errors.ts'
import type { OpenDevice } from './environment.ts'

/** A balloon in the configuration of a machine. */
export interface BalloonConfig {
  readonly kind: 'balloon'
  /** MiB that the guest is asked to give up from the start; 0 if absent. */
  readonly targetMiB?: number
  /** Let the guest take pages back when it would otherwise kill processes; true if absent. */
  readonly deflateOnOom?: boolean
}

/** A balloon for the device thread. */
export interface BalloonPlan {
  readonly targetMiB: number
  readonly deflateOnOom: boolean
}

/** Checks a configuration for a machine with `memoryMiB`; throws `BadInput`. */
export function openBalloon(config: BalloonConfig, memoryMiB: number): OpenDevice<BalloonPlan> {
  const { targetMiB = 0, deflateOnOom = true } = config
  checkBalloonTarget(targetMiB, memoryMiB)
  return {
    plan: { targetMiB, deflateOnOom },
    resources: { [Symbol.asyncDispose]: () => Promise.resolve() },
  }
}

/** Throws `BadInput` when a balloon cannot take `targetMiB` of a machine's memory. */
export function checkBalloonTarget(targetMiB: number, memoryMiB: number): void {
  if (!Number.isInteger(targetMiB) || targetMiB < 0 || targetMiB > memoryMiB)
    throw new BadInput(`a balloon takes 0 to ${memoryMiB} MiB of this guest's memory, not ${targetMiB}`)
}

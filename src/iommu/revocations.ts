/**
 * What happens when translations are taken away: whoever kept one looks again, and the request that took them is over
 * when the host no longer accesses memory through them (VIRTIO 1.2 §5.13.6.4: after a DETACH the endpoint cannot access
 * any mapping).
 */
import type { Endpoint } from './endpoint.ts'
import type { EndpointSpace } from './endpoint-space.ts'
import { hex, type InvalidationEvent, type Untimed } from './events.ts'
import { Outcome } from './outcome.ts'

const NONE: readonly number[] = []
/** The end of all addresses. */
const LAST = Number.MAX_SAFE_INTEGER

/** What was taken away, and from whom. Inclusive. */
export interface Loss {
  readonly cause: InvalidationEvent['cause']
  readonly domain: number | undefined
  readonly start: number
  readonly end: number
  readonly mappings: number
  readonly endpoints: readonly Endpoint[]
}

interface Wait {
  readonly spaces: readonly EndpointSpace[]
  readonly start: number
  readonly end: number
  readonly over: () => void
}

/** See above. */
export class Revocations {
  /** How often it was necessary to wait. */
  waits = 0
  /** Told what happened when it is over, while somebody wants to know. */
  tracer: ((event: Untimed<InvalidationEvent>) => void) | undefined
  private waiting: readonly Wait[] = []

  /** The translations are gone already. Without `done` nobody waits. */
  take(loss: Loss, done: ((outcome: Outcome) => void) | undefined): void {
    const { endpoints, start, end } = loss
    let keepers: readonly number[] = NONE
    let busy: readonly EndpointSpace[] | undefined
    for (let i = 0; i < endpoints.length; i++) {
      const { id, space } = endpoints[i] as Endpoint
      // Who keeps nothing is not busy either.
      if (!space.revoke(start, end)) continue
      if (this.tracer !== undefined) keepers = [...keepers, id]
      if (done !== undefined && space.isBusy(start, end)) busy = [...(busy ?? []), space]
    }
    if (busy === undefined) {
      if (this.tracer !== undefined) this.trace(loss, keepers, 0)
      done?.(Outcome.ok)
      return
    }
    this.wait(loss, busy, waitedUs => {
      if (this.tracer !== undefined) this.trace(loss, keepers, waitedUs)
      done?.(Outcome.ok)
    })
  }

  /** Calls `done` when no device of the endpoints uses a translation that was taken away before. */
  settle(endpoints: readonly Endpoint[], done: () => void): void {
    const spaces = endpoints.map(({ space }) => space).filter(space => space.isBusy(0, LAST))
    if (spaces.length === 0) done()
    else this.waiting = [...this.waiting, { spaces, start: 0, end: LAST, over: done }]
  }

  /** A space is less busy than before. */
  released(): void {
    if (this.waiting.length === 0) return
    const over = this.waiting.filter(wait => !isBusy(wait))
    // First, since those who are told may come with more.
    this.waiting = this.waiting.filter(wait => !over.includes(wait))
    for (const wait of over) wait.over()
  }

  private wait({ start, end }: Loss, spaces: readonly EndpointSpace[], over: (waitedUs: number) => void): void {
    this.waits++
    const since = performance.now()
    const tell = () => over(Math.round((performance.now() - since) * 1000))
    this.waiting = [...this.waiting, { spaces, start, end, over: tell }]
  }

  private trace(
    { cause, domain, start, end, mappings }: Loss,
    keepers: readonly number[] = [],
    waitedUs: number,
  ): void {
    const where = domain === undefined ? {} : { domain }
    const range = { start: hex(start), end: hex(end) }
    this.tracer?.({ type: 'invalidation', cause, ...where, ...range, mappings, endpoints: keepers, waitedUs })
  }
}

function isBusy({ spaces, start, end }: Wait): boolean {
  return spaces.some(space => space.isBusy(start, end))
}

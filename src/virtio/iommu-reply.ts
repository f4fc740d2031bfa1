/**
 * What the core answers to one request of the IOMMU device: mostly before its call returns, else when no device uses what
 * was taken away. Another one takes over when nobody waits for the answer any more.
 */
import type { Done } from '../iommu/iommu.ts'
import type { Outcome } from '../iommu/outcome.ts'

/** See above; used again for the next request. */
export class IommuReply {
  outcome: Outcome | undefined
  /** The device went on meanwhile. */
  isLate = false

  constructor(private readonly onLate: (reply: IommuReply) => void) {}

  readonly done = (outcome: Outcome): void => {
    this.outcome = outcome
    if (this.isLate) this.onLate(this)
  }

  /** What the core is to call for the next request. */
  ask(): Done {
    this.outcome = undefined
    this.isLate = false
    return this.done
  }
}

/**
 * The order in which the device thread does its work: the vCPUs' requests, the main thread's, queues that are polled,
 * descriptors and timers. Nobody of them may keep the others from their turn, however busy they are, and the thread
 * sleeps only when nobody has anything.
 */

/** Rounds that the vCPUs and polled queues may take before the descriptors have their turn. */
const ROUNDS = 16

/** What there is to do. */
export interface DeviceWork {
  /** Answers the vCPUs' requests, up to a bound; true if there was one. */
  serve(): boolean
  /** Does what the main thread asked for; false when the thread has to end. */
  obey(): boolean
  /** Calls the watchers of the descriptors that are ready, without a wait. */
  look(): void
  /** There are queues whose drivers need not notify: the thread must not sleep. */
  readonly isPolling: boolean
  /** Looks at those queues for a while; true when there was something to do, false when notifications are on. */
  poll(): boolean
  /** Sleeps until something happens, or for a moment: the vCPUs had requests, so more will follow. */
  doze(): void
  /** Sleeps until something happens. */
  sleep(): void
}

/** Works until `obey` says that it is over. */
export function runRounds(work: DeviceWork): void {
  for (let round = 1; ; round++) {
    if (round % ROUNDS === 0) work.look()
    const worked = work.serve()
    if (!work.obey()) return
    if (worked) {
      if (!work.isPolling) work.doze()
    } else if (!work.poll()) work.sleep()
  }
}

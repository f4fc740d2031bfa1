/** A poller for the fuzzer: takes queues as it likes, and looks at them or gives them up when it is told to. */
import type { IdleQueue, QueuePoller } from '../../src/virtio/queue-poller.ts'
import type { Random } from './random.ts'

export class FuzzPoller implements QueuePoller {
  /** How often a queue had chains. */
  served = 0
  private idle: IdleQueue[] = []
  private isStopped = false

  constructor(private readonly random: Random) {}

  watch(idle: IdleQueue): boolean {
    if (this.isStopped || this.random.below(2) === 0) return false
    if (!this.idle.includes(idle)) this.idle.push(idle)
    return true
  }

  /** Serves the first queue that has chains. */
  look(): void {
    const index = this.idle.findIndex(idle => idle.queue?.hasNew === true)
    const [found] = index < 0 ? [] : this.idle.splice(index, 1)
    if (found === undefined) return
    this.served++
    found.serve()
  }

  /** Arms all notifications. */
  giveUp(): void {
    for (const idle of this.idle.splice(0)) if (idle.queue?.armNotifications() === true) idle.serve()
  }

  /** Takes no queues any more, and has none. */
  stop(): void {
    this.isStopped = true
    this.idle = []
  }
}

/** A vCPU thread as the main thread sees it. */
import { assert } from '../base/errors.ts'
import { kick } from '../host/signals.ts'
import { Vcpu } from '../kvm/vcpu.ts'
import type { FromVcpu, SharedState, StartVcpu, VcpuFault } from './messages.ts'
import { type ExitCounter, VcpuControl, VcpuState, Wish } from './vcpu-control.ts'
import { MachineWorker } from './worker.ts'

/** What a vCPU thread reports by itself. */
export interface VcpuEvents {
  onFault(index: number, fault: VcpuFault): void
  onFailed(message: string): void
}

/** One vCPU thread. */
export class VcpuHandle {
  private readonly worker: MachineWorker<StartVcpu, FromVcpu>
  private readonly control: VcpuControl
  private vcpu: Vcpu | undefined

  constructor(
    readonly index: number,
    shared: SharedState,
    events: VcpuEvents,
  ) {
    this.control = new VcpuControl(shared.control, index)
    // The thread creates its vCPU and then waits for the first `resume`.
    this.control.wish = Wish.pause
    this.worker = new MachineWorker('vcpu-worker', message => {
      if (message.type === 'fault') events.onFault(index, message.fault)
      else if (message.type === 'failed') {
        this.control.state = VcpuState.stopped
        events.onFailed(message.message)
      }
    })
  }

  /** Creates the vCPU; false when its thread failed (and said so). */
  async create(start: StartVcpu): Promise<boolean> {
    const created = this.worker.next('created')
    const failed = this.worker.next('failed')
    this.worker.start(start)
    const message = await Promise.race([created, failed])
    if (message.type === 'failed') return false
    this.vcpu = Vcpu.adopt(message.fd, message.runPage, start.runPageSize)
    return true
  }

  resume(): void {
    if (this.control.wish !== Wish.stop) this.control.wish = Wish.run
  }

  /** Gets the vCPU out of the guest and holds it there; resolves when it is held, or has stopped. */
  async pause(): Promise<void> {
    if (this.control.wish === Wish.stop) return
    // The wish, then the state; the vCPU thread does it the other way round, so one of the two sees the other.
    this.control.wish = Wish.pause
    // A message may tell of an earlier pause, so the state counts.
    while (this.control.state === VcpuState.running) {
      const { worker } = this
      const news = [worker.next('paused'), worker.next('fault'), worker.next('stopped'), worker.next('failed')]
      this.kick()
      await Promise.race(news)
    }
  }

  /** Makes the thread leave its loop; resolves when it has. */
  async stop(): Promise<void> {
    if (this.control.state === VcpuState.stopped) return
    const stopped = this.worker.next('stopped')
    const failed = this.worker.next('failed')
    this.control.wish = Wish.stop
    this.kick()
    await Promise.race([stopped, failed])
  }

  /** Ends the thread and gives the vCPU back; after `stop`. */
  async end(): Promise<void> {
    await this.worker.end()
    this.vcpu?.[Symbol.dispose]()
    this.vcpu = undefined
  }

  /** The vCPU itself, for calls while it is held by `pause`. */
  held(): Vcpu {
    assert(this.vcpu !== undefined, `vCPU ${this.index} was created and has not ended`)
    return this.vcpu
  }

  get exits(): Record<ExitCounter, number> {
    return this.control.exits()
  }

  private kick(): void {
    if (this.vcpu === undefined) return
    this.vcpu.run.immediateExit = true
    if (this.control.threadId !== 0) kick(this.control.threadId)
  }
}

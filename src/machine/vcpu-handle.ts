/** A vCPU thread as the main thread sees it. */
import { kick } from '../host/signals.ts'
import { RunPage } from '../kvm/run-page.ts'
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
  private run: RunPage | undefined
  private fd = -1

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
    this.fd = message.fd
    this.run = new RunPage(message.runPage, start.runPageSize)
    return true
  }

  resume(): void {
    this.control.wish = Wish.run
  }

  /** Gets the vCPU out of the guest and holds it there; resolves when it is held. */
  async pause(): Promise<void> {
    if (this.isHeld()) {
      this.control.wish = Wish.pause
      return
    }
    const paused = this.worker.next('paused')
    const fault = this.worker.next('fault')
    this.control.wish = Wish.pause
    this.kick()
    await Promise.race([paused, fault])
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

  /** Ends the thread; after `stop`. */
  async end(): Promise<void> {
    await this.worker.end()
  }

  /** The vCPU itself, for calls while it is held by `pause`. */
  held(): Vcpu {
    return Vcpu.borrow(this.fd)
  }

  get exits(): Record<ExitCounter, number> {
    return this.control.exits()
  }

  /** A thread that has not entered its loop, or that waits in it. */
  private isHeld(): boolean {
    return this.control.state !== VcpuState.running
  }

  private kick(): void {
    if (this.run === undefined) return
    this.run.immediateExit = true
    if (this.control.threadId !== 0) kick(this.control.threadId)
  }
}

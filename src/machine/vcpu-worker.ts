/**
 * A vCPU's thread: creates the vCPU, then loops in KVM_RUN until the main thread stops it. Answers what it can from
 * the route table; asks the device thread for everything else.
 */
import { setupCpu, setupCpuid } from '../arch/cpu.ts'
import { EventFd } from '../host/eventfd.ts'
import { threadId } from '../host/signals.ts'
import { Kvm } from '../kvm/kvm.ts'
import { KvmRun, type RunPage } from '../kvm/run-page.ts'
import { KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IRQ_WINDOW_OPEN, KVM_EXIT_MMIO } from '../kvm/uapi.ts'
import type { Vcpu } from '../kvm/vcpu.ts'
import { Vm } from '../kvm/vm.ts'
import { Mailbox, Op } from './mailbox.ts'
import type { FromVcpu, StartVcpu } from './messages.ts'
import { PortRoute, RouteTable } from './routes.ts'
import { EXIT_COUNTERS, VcpuControl, VcpuState, Wish } from './vcpu-control.ts'

// The web's Worker, not node:worker_threads: it starts 16 ms sooner (test/bench/start.ts).
declare const self: Worker

const ALL_ONES = 0xffff_ffff

const Count = {
  io: EXIT_COUNTERS.indexOf('io'),
  mmio: EXIT_COUNTERS.indexOf('mmio'),
  forwarded: EXIT_COUNTERS.indexOf('forwarded'),
  posted: EXIT_COUNTERS.indexOf('posted'),
  interrupted: EXIT_COUNTERS.indexOf('interrupted'),
  other: EXIT_COUNTERS.indexOf('other'),
} as const

/** The run loop's state. */
class VcpuLoop {
  private readonly control: VcpuControl
  private readonly mailbox: Mailbox
  private readonly routes: RouteTable
  private readonly doorbell: EventFd
  private readonly run: RunPage
  /** Whether a request to the device thread may remain unanswered. */
  private readonly isStopped = () => this.control.wish === Wish.stop

  constructor(
    private readonly vcpu: Vcpu,
    start: StartVcpu,
  ) {
    this.control = new VcpuControl(start.shared.control, start.index)
    this.mailbox = new Mailbox(start.shared.mailboxes, start.index)
    this.routes = new RouteTable(start.shared.routes)
    this.doorbell = new EventFd(start.doorbellFd)
    this.run = vcpu.run
  }

  /** Runs the guest until the main thread stops it. */
  loop(): void {
    const { vcpu, control } = this
    control.threadId = threadId()
    control.state = VcpuState.running
    while (this.obey()) {
      if (!vcpu.enter()) {
        control.count(Count.interrupted)
        this.run.immediateExit = false
        continue
      }
      switch (this.run.exitReason) {
        case KVM_EXIT_IO:
          control.count(Count.io)
          this.port()
          break
        case KVM_EXIT_MMIO:
          control.count(Count.mmio)
          this.mmio()
          break
        case KVM_EXIT_INTR:
        case KVM_EXIT_IRQ_WINDOW_OPEN:
          control.count(Count.other)
          break
        default:
          this.fault()
      }
    }
    control.state = VcpuState.stopped
  }

  /** Does what the main thread wants; false when the loop has to end. */
  private obey(): boolean {
    const { control } = this
    while (control.wish === Wish.pause) {
      control.state = VcpuState.paused
      tell({ type: 'paused' })
      control.waitWhilePaused()
      this.run.immediateExit = false
      this.vcpu.notifyPaused()
      // The state, then the wish once more: a pause that found us held a moment ago counts on it.
      control.state = VcpuState.running
    }
    return control.wish !== Wish.stop
  }

  private port(): void {
    const { run } = this
    const size = run.ioSize
    const port = run.ioPort
    const write = run.ioIsWrite
    const start = run.ioDataOffset
    const end = start + run.ioCount * size
    // A string instruction makes all its accesses to the one port.
    for (let at = start; at < end; at += size)
      if (write) this.writePort(port, size, run.getValue(at, size))
      else run.setValue(at, size, this.readPort(port, size))
  }

  private readPort(port: number, size: number): number {
    const route = this.routes.port(port)
    if (route === PortRoute.unmapped && size === 1) return ALL_ONES
    if (size === 1 && (route & PortRoute.mirrored) !== 0) return this.routes.mirror(port)
    return this.forward(Op.portRead, port, size, 0, 0)
  }

  private writePort(port: number, size: number, value: number): void {
    const route = this.routes.port(port) & ~PortRoute.mirrored
    if (route === PortRoute.unmapped && size === 1) return
    if ((route === PortRoute.posted && size === 1) || (route === PortRoute.postedDword && size === 4)) {
      this.control.count(Count.posted)
      if (this.mailbox.post(Op.portWrite, port, size, value, this.isStopped)) this.doorbell.signal()
    } else this.forward(Op.portWrite, port, size, value, 0)
  }

  private mmio(): void {
    const { run } = this
    const address = run.mmioAddress
    const size = run.mmioSize
    const known = this.routes.hasMmio(address)
    if (run.mmioIsWrite) {
      if (!known) return
      const low = run.view.getUint32(KvmRun.mmioData, true)
      const high = run.view.getUint32(KvmRun.mmioData + 4, true)
      this.forward(Op.mmioWrite, address, size, low, high)
      return
    }
    const low = known ? this.forward(Op.mmioRead, address, size, 0, 0) : ALL_ONES
    run.view.setUint32(KvmRun.mmioData, low, true)
    run.view.setUint32(KvmRun.mmioData + 4, known ? this.mailbox.resultHigh : ALL_ONES, true)
  }

  /** A round trip to the device thread; returns the low 32 bits of its answer. */
  private forward(op: number, address: number, size: number, low: number, high: number): number {
    this.control.count(Count.forwarded)
    if (this.mailbox.ask(op, address, size, low, high, this.isStopped)) this.doorbell.signal()
    this.mailbox.await(this.isStopped)
    return this.mailbox.resultLow
  }

  /** The guest cannot go on: tells the main thread and waits to be stopped. */
  private fault(): void {
    const { vcpu, control } = this
    const exit = this.run.exit()
    tell({ type: 'fault', fault: { exit, regs: vcpu.getRegs().bytes, sregs: vcpu.getSregs().bytes } })
    // Nobody may enter the guest again: a wish for a pause is obeyed, a resume leads back here.
    control.state = VcpuState.paused
    while (control.wish !== Wish.stop) control.waitUntilChanged()
  }
}

function tell(message: FromVcpu): void {
  postMessage(message)
}

function createVcpu(start: StartVcpu): Vcpu {
  using created = new DisposableStack()
  const vcpu = created.use(new Vm(start.vmFd, start.runPageSize).createVcpu(start.index))
  setupCpuid(new Kvm(start.kvmFd), vcpu, start.index, start.cpus)
  setupCpu(vcpu, start.entry)
  created.move()
  return vcpu
}

function main(start: StartVcpu): void {
  const vcpu = createVcpu(start)
  // From here on the vCPU is the main thread's to dispose: it writes the run page until this thread has ended.
  tell({ type: 'created', fd: vcpu.fd, runPage: vcpu.runPageAddress })
  // The main thread releases all vCPUs at once by its first wish.
  const control = new VcpuControl(start.shared.control, start.index)
  control.waitWhilePaused()
  new VcpuLoop(vcpu, start).loop()
}

self.onmessage = ({ data: start }: MessageEvent<StartVcpu>) => {
  try {
    main(start)
    tell({ type: 'stopped' })
  } catch (error) {
    tell({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
  }
}

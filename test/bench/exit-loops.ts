/** The loops that `exits.ts` compares. Each measures nanoseconds per exit; all but one may be idle at any time. */
import { setupCpu, setupCpuid } from '../../src/arch/cpu.ts'
import { prepareVm, ramRanges } from '../../src/arch/index.ts'
import { Kvm } from '../../src/kvm/kvm.ts'
import type { RunPage } from '../../src/kvm/run-page.ts'
import { KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../src/kvm/uapi.ts'
import { planMachine } from '../../src/machine/config.ts'
import { Machine } from '../../src/machine/machine.ts'
import type { ExitCounter } from '../../src/machine/vcpu-control.ts'
import { Ram, viewRam } from '../../src/memory/ram.ts'

const MEMORY_MIB = 16
const MIB = 2 ** 20

/** Something that makes exits. */
export interface ExitLoop extends AsyncDisposable {
  /** Makes exits for about `milliseconds` and returns the nanoseconds that each took. */
  measure(milliseconds: number): Promise<number>
}

/** exits.c in a process of its own. */
export class CLoop implements ExitLoop {
  private readonly child
  private readonly lines: AsyncIterator<string>
  private nsPerExit = 10_000

  constructor(program: string, image: string) {
    this.child = Bun.spawn([program, image], { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' })
    this.lines = readLines(this.child.stdout)
  }

  async measure(milliseconds: number): Promise<number> {
    const count = Math.max(100, Math.round((milliseconds * 1e6) / this.nsPerExit))
    this.child.stdin.write(`${count}\n`)
    await this.child.stdin.flush()
    const line = await this.lines.next()
    if (line.done === true) throw new Error('exits.c ended early')
    this.nsPerExit = Number(line.value) / count
    return this.nsPerExit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stdin.end()
    await this.child.exited
  }
}

/** `Vcpu.enter` and the exit's fields, on this thread. */
export class BareLoop implements ExitLoop {
  private readonly opened = new DisposableStack()
  private readonly vcpu
  private nsPerExit = 10_000
  private sum = 0

  constructor(image: Uint8Array) {
    const plan = planMachine({ memoryMiB: MEMORY_MIB, cpus: 1, kernel: { image, name: 'bench' } })
    const kvm = this.opened.use(Kvm.open())
    const vm = this.opened.use(kvm.createVm())
    prepareVm(vm)
    const ram = this.opened.use(Ram.create(ramRanges(MEMORY_MIB * MIB)))
    for (const [slot, block] of ram.blocks.entries())
      vm.setMemory({ slot, guestAddress: block.start, sizeBytes: block.size, hostAddress: block.hostAddress })
    for (const { gpa, bytes } of plan.segments) viewRam(ram.blocks).write(gpa, bytes)
    this.vcpu = this.opened.use(vm.createVcpu(0))
    setupCpuid(kvm, this.vcpu, 0, 1)
    setupCpu(this.vcpu, plan.entry)
  }

  async measure(milliseconds: number): Promise<number> {
    const count = Math.max(100, Math.round((milliseconds * 1e6) / this.nsPerExit))
    const { vcpu } = this
    const { run } = vcpu
    const start = performance.now()
    for (let i = 0; i < count; i++) {
      while (!vcpu.enter());
      this.sum += decode(run)
    }
    this.nsPerExit = ((performance.now() - start) * 1e6) / count
    return this.nsPerExit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.opened.dispose()
  }
}

/** A whole `Machine`: its vCPU thread makes the exits, this thread looks at its counters. */
export class MachineLoop implements ExitLoop {
  private constructor(
    private readonly machine: Machine,
    private readonly counter: ExitCounter,
  ) {}

  /** A held machine; `counter` is the kind of exit that the guest makes. */
  static async start(image: Uint8Array, counter: ExitCounter): Promise<MachineLoop> {
    const machine = new Machine({ memoryMiB: MEMORY_MIB, cpus: 1, kernel: { image, name: 'bench' } })
    await machine.start()
    await machine.pause()
    return new MachineLoop(machine, counter)
  }

  async measure(milliseconds: number): Promise<number> {
    this.machine.resume()
    // The guest is back in its loop, and the sleep of the device thread in its usual rhythm.
    await Bun.sleep(10)
    const startCount = this.count()
    const start = performance.now()
    await Bun.sleep(milliseconds)
    const elapsedMs = performance.now() - start
    const count = (this.count() - startCount) >>> 0
    await this.machine.pause()
    return (elapsedMs * 1e6) / count
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.close()
  }

  private count(): number {
    return this.machine.exits()[0]?.[this.counter] ?? Number.NaN
  }
}

function decode(run: RunPage): number {
  switch (run.exitReason) {
    case KVM_EXIT_IO: {
      const size = run.ioSize
      const at = run.ioDataOffset
      if (run.ioIsWrite) return run.ioPort + run.getValue(at, size)
      run.setValue(at, size, 0xffff_ffff)
      return 0
    }
    case KVM_EXIT_MMIO:
      if (run.mmioIsWrite) return run.mmioAddress + run.mmioSize
      return 0
    default:
      throw new Error(`unexpected exit ${run.exitReason}`)
  }
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

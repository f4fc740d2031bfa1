/**
 * One vCPU in the test's own thread, without a machine around it: for tests of the KVM layer. The code is 32-bit and
 * starts at CODE in flat protected mode, without interrupts; what it writes to port 0xf4 ends a run.
 */
import { setupCpu, setupCpuid } from '../../src/arch/x86-64/cpu.ts'
import { prepareVm } from '../../src/arch/x86-64/vm.ts'
import { gdtSegment } from '../../src/boot/cpu-tables.ts'
import { Kvm } from '../../src/kvm/kvm.ts'
import { KvmRun, type VcpuExit } from '../../src/kvm/run-page.ts'
import type { Vcpu } from '../../src/kvm/vcpu.ts'
import type { Vm } from '../../src/kvm/vm.ts'
import type { GuestMemory } from '../../src/memory/guest-memory.ts'
import { Ram, viewRam } from '../../src/memory/ram.ts'
import { LOAD_ADDRESS } from './micro-guest.ts'
import type { Watchdog } from './watchdog.ts'

/** Where the code lies: where the Assembler takes its first instruction to be. */
export const CODE = LOAD_ADDRESS + 0x40
/** Memory that code may use as it likes. */
export const SCRATCH = 0x20_0000
/** An address where there is no RAM. */
export const DEVICE = 0xd000_0000

const END_PORT = 0xf4
const RAM_BYTES = 4 * 2 ** 20
/** More exits than any of the guests makes. */
const MOST_EXITS = 10_000

/** A port or MMIO access, with its bytes in hexadecimal (what was written, or what the guest was given). */
export interface Access {
  readonly at: number
  readonly write: boolean
  readonly size: number
  readonly hex: string
}

/** Answers a read with `size` bytes. */
export type Answer = (at: number, size: number) => Uint8Array

/** A VM with 4 MiB of RAM and one vCPU. */
export class BareGuest {
  readonly kvm: Kvm
  readonly vm: Vm
  readonly vcpu: Vcpu
  readonly memory: GuestMemory
  /** Address in this process that backs guest address 0. */
  readonly hostAddress: number
  private readonly opened: DisposableStack

  constructor(
    code: Uint8Array,
    private readonly watchdog: Watchdog,
  ) {
    using opened = new DisposableStack()
    this.kvm = opened.use(Kvm.open())
    this.vm = opened.use(this.kvm.createVm())
    prepareVm(this.vm)
    const ram = opened.use(Ram.create([{ start: 0, size: RAM_BYTES }]))
    for (const [slot, { start, size, hostAddress }] of ram.blocks.entries())
      this.vm.setMemory({ slot, guestAddress: start, sizeBytes: size, hostAddress })
    this.hostAddress = ram.blocks[0]!.hostAddress
    this.memory = viewRam(ram.blocks)
    const gdt = gdtSegment('protected')
    this.memory.write(gdt.gpa, gdt.bytes)
    this.memory.write(CODE, code)
    this.vcpu = opened.use(this.vm.createVcpu(0))
    setupCpuid(this.kvm, this.vcpu, 0, 1)
    setupCpu(this.vcpu, { mode: 'protected', eip: CODE, eax: 0, ebx: 0, gdt: gdt.gpa })
    this.opened = opened.move()
  }

  /** The next exit; throws when the guest does not leave within the watchdog's time. */
  enter(): VcpuExit {
    if (!this.watchdog.during(() => this.vcpu.enter())) throw new Error('the guest did not leave in time')
    return this.vcpu.run.exit()
  }

  /** All accesses up to the one that ends the run; throws on any other exit. */
  run(answer: Answer = (_, size) => new Uint8Array(size)): readonly Access[] {
    const accesses: Access[] = []
    while (accesses.length < MOST_EXITS) {
      const exit = this.enter()
      if (exit.kind === 'io' && exit.port === END_PORT) return accesses
      if (exit.kind === 'io')
        accesses.push(this.complete(exit.port, exit, exit.size * exit.count, this.vcpu.run.ioDataOffset, answer))
      else if (exit.kind === 'mmio')
        accesses.push(this.complete(exit.address, exit, exit.size, KvmRun.mmioData, answer))
      else throw new Error(`the guest left with ${JSON.stringify(exit)}`)
    }
    throw new Error(`the guest made ${MOST_EXITS} accesses`)
  }

  /** A 32-bit word of guest memory. */
  word(address: number): number {
    return new DataView(this.memory.read(address, 4)!.buffer).getUint32(0, true)
  }

  [Symbol.dispose](): void {
    this.opened.dispose()
  }

  private complete(
    at: number,
    exit: { readonly write: boolean; readonly size: number },
    length: number,
    offset: number,
    answer: Answer,
  ): Access {
    const data = this.vcpu.run.bytes.subarray(offset, offset + length)
    if (!exit.write) data.set(answer(at, length))
    return { at, write: exit.write, size: exit.size, hex: Buffer.from(data).toString('hex') }
  }
}

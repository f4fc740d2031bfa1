/**
 * A micro-guest that takes interrupts: it turns its local APIC on, says so on READY, and halts with interrupts on. Each
 * interrupt adds one to its vector's word at COUNTS, is acknowledged, and shows on TAKEN.
 */
import { BareGuest, SCRATCH } from './bare-guest.ts'
import { Assembler, le32 } from './micro-guest.ts'
import type { Watchdog } from './watchdog.ts'

export const READY = 0x510
export const TAKEN = 0x511
/** A word for each vector. */
export const COUNTS = SCRATCH

const LAPIC = 0xfee0_0000
const LAPIC_EOI = LAPIC + 0xb0
const LAPIC_SVR = LAPIC + 0xf0
const SVR_ENABLE = 0x1ff
const IOAPIC_SELECT = 0xfec0_0000
const IOAPIC_WINDOW = 0xfec0_0010
const IOAPIC_TABLE = 0x10
const IDT = 0x5000
const IDT_REGISTER = 0x5800
const STACK = 0x9000
const INTERRUPT_GATE = 0x8e
/** Bytes that iret would take: EIP, CS, EFLAGS. */
const FRAME = 12

/** IOAPIC redirection entries: low words, destination APIC 0. */
export const Redirection = { edge: 0, level: 1 << 15 } as const

/** Writes an IOAPIC redirection entry for `pin`. */
export function redirect(code: Assembler, pin: number, vector: number, trigger: number): Assembler {
  return code
    .set(IOAPIC_SELECT, IOAPIC_TABLE + 2 * pin + 1)
    .set(IOAPIC_WINDOW, 0)
    .set(IOAPIC_SELECT, IOAPIC_TABLE + 2 * pin)
    .set(IOAPIC_WINDOW, vector | trigger)
}

/** A guest that takes `vectors` in that way, after what `prepare` adds to its start. */
export function interruptGuest(
  vectors: readonly number[],
  watchdog: Watchdog,
  prepare: (code: Assembler) => Assembler = code => code,
  acknowledge: (code: Assembler) => Assembler = code => code.set(LAPIC_EOI, 0),
): BareGuest {
  const code = new Assembler()
    // lidt [IDT_REGISTER]
    .raw(0x0f, 0x01, 0x1d, ...le32(IDT_REGISTER))
    .esp(STACK)
    .set(LAPIC_SVR, SVR_ENABLE)
  prepare(code).out8(READY)
  const halt = code.here
  // sti; hlt
  code.raw(0xfb, 0xf4).jump(halt)
  const handlers = vectors.map(vector => {
    const handler = code.here
    acknowledge(code.increment(COUNTS + 4 * vector))
      .eax(vector)
      .out8(TAKEN)
      // add esp, FRAME: an iret needs more than some emulators know.
      .raw(0x83, 0xc4, FRAME)
      .jump(halt)
    return { vector, handler }
  })
  const guest = new BareGuest(code.code(), watchdog)
  guest.memory.write(IDT_REGISTER, new Uint8Array([0xff, 0x07, ...le32(IDT)]))
  for (const { vector, handler } of handlers) guest.memory.write(IDT + 8 * vector, gate(handler))
  return guest
}

/** Runs the guest to its next READY or TAKEN; returns the port and the byte. */
export function nextSign(guest: BareGuest): { readonly port: number; readonly value: number } {
  const exit = guest.enter()
  if (exit.kind !== 'io') throw new Error(`the guest left with ${JSON.stringify(exit)}`)
  return { port: exit.port, value: guest.vcpu.run.bytes[guest.vcpu.run.ioDataOffset]! }
}

function gate(handler: number): Uint8Array {
  const [a, b, c, d] = le32(handler) as [number, number, number, number]
  return new Uint8Array([a, b, 0x10, 0, 0, INTERRUPT_GATE, c, d])
}

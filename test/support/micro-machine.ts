/** Machines that run micro-guests. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { MachineConfig } from '../../src/machine/config.ts'
import { Machine, type Outcome } from '../../src/machine/machine.ts'
import type { Assembler } from './micro-guest.ts'

/** How a guest ended and what it sent on COM1. */
export interface MicroRun {
  readonly outcome: Outcome
  readonly output: string
}

/** A machine with `code` as its kernel; 16 MiB and one vCPU unless `options` say otherwise. */
export function microMachine(code: Assembler, options: Partial<MachineConfig> = {}): Machine {
  return new Machine({ memoryMiB: 16, cpus: 1, kernel: { image: code.image(), name: 'micro-guest' }, ...options })
}

/** Runs a machine to its end, and closes it. */
export async function runMicro(code: Assembler, options: Partial<MachineConfig> = {}): Promise<MicroRun> {
  await using machine = microMachine(code, options)
  let output = ''
  machine.consoles[0]?.onOutput(bytes => {
    output += new TextDecoder('latin1').decode(bytes)
  })
  await machine.start()
  return { outcome: await machine.finished, output }
}

/** A 32-bit word of the guest's memory. */
export function wordOf(machine: Machine, address: number): number {
  const bytes = machine.memory().read(address, 4)
  if (bytes === undefined) throw new Error(`there is no RAM at 0x${address.toString(16)}`)
  return new DataView(bytes.buffer).getUint32(0, true)
}

/** Resolves once `condition` holds; throws when it does not within `limitMs`. */
export async function until(condition: () => boolean, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${condition}`)
    await sleep(5)
  }
}

/**
 * Debug exit port, as QEMU's isa-debug-exit and kvm-unit-tests use it (0xf4, 4 ports): a write ends the machine.
 */
import type { BusHandler } from '../bus/bus.ts'

/** The port that ends the machine with a status of the guest's choice. */
export class DebugExit implements BusHandler {
  static readonly SIZE = 4

  /** `onExit` gets the process status: (value << 1) | 1 in 8 bits, so it is odd and never 0. */
  constructor(private readonly onExit: (status: number) => void) {}

  read(): number {
    return 0
  }

  write(_offset: number, _size: number, value: number): void {
    this.onExit(exitStatus(value))
  }

  /** Nothing to reset: the device has no state. */
  reset(): void {}
}

/** What the process ends with for a written value; the host keeps 8 bits of it, so 0x80 and 0 give the same. */
export function exitStatus(value: number): number {
  return ((value << 1) | 1) & 0xff
}

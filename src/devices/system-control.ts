/**
 * System control port A (0x92) of the PS/2 and every PC since: fast reset and the A20 gate. RAM is always addressed
 * with A20 on; the gate's bit only reads back as written.
 */
import type { BusHandler } from '../bus/bus.ts'

const Control = { reset: 0x01, a20: 0x02 } as const

/** Port 0x92. */
export class SystemControl implements BusHandler {
  static readonly SIZE = 1
  readonly accessSize = 1
  private value: number = Control.a20

  constructor(private readonly onReset: () => void) {}

  read(): number {
    return this.value
  }

  write(_offset: number, _size: number, value: number): void {
    // The reset line is edge-triggered: a guest that writes back a set bit does not ask again.
    const asked = (value & ~this.value & Control.reset) !== 0
    this.value = value & (Control.reset | Control.a20)
    if (asked) this.onReset()
  }

  /** Back to power-on: no reset pending, A20 on. */
  reset(): void {
    this.value = Control.a20
  }
}

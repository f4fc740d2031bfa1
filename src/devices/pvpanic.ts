/** Panic notification port (0x505). QEMU docs/specs/pvpanic: reads tell the events it knows, writes report them. */
import type { BusHandler } from '../bus/bus.ts'

export const PVPANIC_PANICKED = 0x01
export const PVPANIC_CRASH_LOADED = 0x02

/** What happened: the guest panicked and stops, or it panicked and goes on in its crash kernel. */
export type PanicEvent = 'panicked' | 'crash-loaded'

/** The port through which a guest says that it panicked. */
export class Pvpanic implements BusHandler {
  static readonly SIZE = 1
  readonly accessSize = 1

  constructor(private readonly onPanic: (event: PanicEvent) => void) {}

  read(): number {
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED
  }

  /** Bits we did not announce are ignored, as the specification asks; a final panic outranks a crash kernel. */
  write(_offset: number, _size: number, value: number): void {
    if ((value & PVPANIC_PANICKED) !== 0) this.onPanic('panicked')
    else if ((value & PVPANIC_CRASH_LOADED) !== 0) this.onPanic('crash-loaded')
  }

  /** Nothing to reset: the device has no state. */
  reset(): void {}
}

/**
 * POST code port (0x80). Guests write it to waste a microsecond (Linux's outb_p, the UART probe), so its range should
 * be declared `silent`: the vCPU thread drops the write and nothing is forwarded.
 */
import type { BusHandler } from '../bus/bus.ts'

/** The range's size and hint, to be spread into its BusRange. */
export const POST_RANGE = { name: 'post code', size: 1, silent: true } as const

/** Reads as ones and ignores writes, like an address where nothing answers. */
export class PostPort implements BusHandler {
  readonly accessSize = 1

  read(): number {
    return 0xff
  }

  write(): void {}

  /** Nothing to reset: the device has no state. */
  reset(): void {}
}

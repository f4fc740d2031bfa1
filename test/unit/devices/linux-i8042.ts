/**
 * The questions Linux's i8042 driver asks a controller (drivers/input/serio/i8042.c: controller check and
 * initialisation, aux check), in its order. Each missing answer would cost the guest half a second.
 */
import type { I8042 } from '../../../src/devices/i8042.ts'

/** What the driver concludes, and how often it would have waited in vain. */
export interface Probe {
  readonly controller: string
  readonly hasAux: boolean
  readonly timeouts: number
}

/** Plays the probe. */
export function probe(i8042: I8042): Probe {
  let timeouts = 0
  const status = () => i8042.command.read(0, 1)
  const command = (code: number, ...parameters: number[]) => {
    i8042.command.write(0, 1, code)
    for (const parameter of parameters) i8042.data.write(0, 1, parameter)
  }
  const answer = () => {
    if ((status() & 1) === 0) timeouts++
    return i8042.data.read(0, 1)
  }
  const flush = () => {
    for (let count = 0; count < 16; count++) {
      if ((status() & 1) === 0) return true
      i8042.data.read(0, 1)
    }
    return false
  }

  if (!flush()) return { controller: 'absent', hasAux: false, timeouts }
  command(0x20)
  const first = answer()
  command(0x20)
  if (answer() !== first) return { controller: 'unstable', hasAux: false, timeouts }
  command(0x60, (first | 0x10) & ~0x01)
  flush()

  command(0xd3, 0x5a)
  const looped = answer()
  command(0xa9)
  const tested = answer()
  const hasAux = looped === 0x5a || [0x00, 0xfa, 0xff].includes(tested)
  return { controller: 'present', hasAux, timeouts }
}

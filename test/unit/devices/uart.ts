/** A UART for tests, with everything its host sees recorded, and the names of its registers. */
import { Serial } from '../../../src/devices/serial.ts'
import { RecordingLine, RecordingMirror } from './surroundings.ts'

export const RBR = 0
export const THR = 0
export const IER = 1
export const IIR = 2
export const FCR = 2
export const LCR = 3
export const MCR = 4
export const LSR = 5
export const MSR = 6

/** A UART whose host takes output while `open`, with everything the host sees recorded. */
export function uart(options: { autoFlow?: boolean } = {}) {
  const host = { open: true, output: [] as number[], rooms: 0 }
  const line = new RecordingLine()
  const mirror = new RecordingMirror()
  const serial = new Serial({
    interrupt: line,
    mirror,
    sink: byte => host.open && host.output.push(byte) > 0,
    onRoom: () => host.rooms++,
    ...options,
  })
  return { host, line, mirror, serial, put: (register: number, value: number) => serial.write(register, 1, value) }
}

/**
 * Registers of devices from outside, on the device thread: read and written as a vCPU would, through the bus. Device
 * memory that the guest reaches without an exit has a handler there, too. Parameters come from outside and are checked.
 */
import { BadInput } from '../base/errors.ts'
import type { Bus } from '../bus/bus.ts'

/** Bytes of one access. */
const SIZES: readonly unknown[] = [1, 2, 4, 8]

type Params = Readonly<Record<string, unknown>>

/** Whether a request is one of these. */
export function isMmioCommand(method: string): boolean {
  return method === 'mmioRead' || method === 'mmioWrite'
}

/** Answers `mmioRead` with the value in hexadecimal digits, as it may have 64 bits, and `mmioWrite` with null. */
export function mmioCommand(bus: Bus, method: string, { address, size, value }: Params): unknown {
  if (typeof address !== 'number' || !Number.isSafeInteger(address) || address < 0)
    throw new BadInput('a register has an address below 2^53')
  if (typeof size !== 'number' || !SIZES.includes(size)) throw new BadInput('a register has 1, 2, 4 or 8 bytes')
  if (!bus.ranges().some(({ start, size: length }) => address >= start && address + size <= start + length))
    throw new BadInput(`no device has ${size} bytes of registers at 0x${address.toString(16)}`)
  const view = new DataView(new ArrayBuffer(8))
  if (method === 'mmioRead') {
    bus.readInto(address, size, view, 0)
    return `0x${view.getBigUint64(0, true).toString(16)}`
  }
  if (typeof value !== 'string' || !/^0x[0-9a-f]{1,16}$/.test(value) || BigInt(value) >= 1n << BigInt(8 * size))
    throw new BadInput(`the value of a register of ${size} bytes is a number of at most ${8 * size} bits`)
  view.setBigUint64(0, BigInt(value), true)
  bus.writeFrom(address, size, view, 0)
  return null
}

/**
 * The questions Linux's 8250 driver asks a UART (drivers/tty/serial/8250/8250_port.c: autoconfig, autoconfig_16550a,
 * size_fifo, and the THRE and TXEN tests of startup), in its order, with every optional variant check enabled.
 */
import type { Serial } from '../../../src/devices/serial.ts'

/** What the driver would print at boot. */
export function autoconfigure(uart: Serial): string {
  const get = (register: number) => uart.read(register)
  const put = (register: number, value: number) => uart.write(register, 1, value)

  // Is anything there? The interrupt enables must hold 0 and 15.
  const savedIer = get(1)
  put(1, 0)
  const cleared = get(1) & 0x0f
  put(1, 0x0f)
  const filled = get(1) & 0x0f
  put(1, savedIer)
  if (cleared !== 0 || filled !== 0x0f) return `no UART: enables read ${cleared}, ${filled}`

  // Loopback with RTS and OUT2 must come back as CTS and DCD.
  const savedMcr = get(4)
  const savedLcr = get(3)
  put(4, 0x10 | 0x0a)
  const looped = get(6) & 0xf0
  put(4, savedMcr)
  if (looped !== 0x90) return `no UART: loopback reads ${looped}`

  put(3, 0xbf)
  put(2, 0)
  put(3, 0)
  put(2, 0x01)
  const kind = get(2) >>> 6
  if (kind !== 3) return ['8250 or 16450', 'unknown', '16550'][kind]!
  const type = variant(get, put)
  put(3, savedLcr)
  put(4, savedMcr)
  put(2, 0x01)
  put(2, 0x07)
  put(2, 0x00)
  get(0)
  put(1, 0)
  return type
}

/** The workarounds that startup would turn on. */
export function startupBugs(uart: Serial): string[] {
  const get = (register: number) => uart.read(register)
  const put = (register: number, value: number) => uart.write(register, 1, value)
  const bugs: string[] = []
  put(2, 0x01)
  put(2, 0x07)
  put(2, 0x00)
  for (const register of [5, 0, 2, 6]) get(register)
  if (get(5) === 0xff) bugs.push('LSR safety check')

  // Enabling the transmitter interrupt twice must report it twice, though the first report acknowledged it.
  put(1, 0x02)
  const first = get(2)
  put(1, 0)
  put(1, 0x02)
  const second = get(2)
  put(1, 0)
  if ((first & 1) === 0 && (second & 1) !== 0) bugs.push('UART_BUG_THRE')

  put(3, 0x03)
  put(4, 0x08)
  put(1, 0x02)
  const lsr = get(5)
  const iir = get(2)
  put(1, 0)
  if ((lsr & 0x40) !== 0 && (iir & 1) !== 0) bugs.push('UART_BUG_TXEN')
  return bugs
}

function variant(get: (register: number) => number, put: (register: number, value: number) => void): string {
  // An extended feature register would read 0 where IIR shows its FIFO bits.
  put(3, 0x80)
  if (get(2) === 0) return '16650'
  put(3, 0xbf)
  if (get(2) === 0) return '16650V2'

  // A National SuperIO chip shows MCR's loop bit in another bank.
  put(3, 0)
  const mcr = get(4)
  put(3, 0xe0)
  const before = get(2)
  put(3, 0)
  put(4, mcr ^ 0x10)
  put(3, 0xe0)
  const after = get(2)
  put(3, 0)
  put(4, mcr)
  if (((before ^ mcr) & 0x10) === 0 && ((after ^ mcr) & 0x10) !== 0) return 'NS16550A'

  // A TI16750 turns on its 64-byte FIFO only with DLAB set.
  put(3, 0)
  put(2, 0x21)
  const plain = get(2) >>> 5
  put(2, 0x01)
  put(3, 0x80)
  put(2, 0x21)
  const latched = get(2) >>> 5
  put(2, 0x01)
  put(3, 0)
  if (plain === 6 && latched === 7) return '16750'

  // An XScale has a unit enable in IER.
  const ier = get(1)
  put(1, ier & ~0x40)
  put(1, ier | 0x40)
  const unit = get(1) & 0x40
  put(1, ier)
  if (unit !== 0) return 'XScale'
  return loopedFifoSize(get, put) === 64 ? 'U6_16550A' : '16550A'
}

function loopedFifoSize(get: (register: number) => number, put: (register: number, value: number) => void): number {
  const lcr = get(3)
  put(3, 0)
  const fcr = get(2)
  const mcr = get(4)
  put(2, 0x07)
  put(4, 0x10)
  put(3, 0x80)
  const divisor = [get(0), get(1)]
  put(0, 1)
  put(1, 0)
  put(3, 0x03)
  for (let i = 0; i < 256; i++) put(0, i)
  let count = 0
  while ((get(5) & 1) !== 0 && count < 256) {
    get(0)
    count++
  }
  put(2, fcr)
  put(4, mcr)
  put(3, 0x80)
  put(0, divisor[0]!)
  put(1, divisor[1]!)
  put(3, lcr)
  return count
}

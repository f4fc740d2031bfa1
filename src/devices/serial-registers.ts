/** Register offsets and bits of the 16550A: PC16550D data sheet, table 2. Bits are masks, one object per register. */

/** Receive buffer (read), transmit holding register (write); divisor latch low with DLAB. */
export const RBR_THR_DLL = 0
/** Interrupt enable; divisor latch high with DLAB. */
export const IER_DLM = 1
/** Interrupt identification (read), FIFO control (write). */
export const IIR_FCR = 2
export const LCR = 3
export const MCR = 4
export const LSR = 5
export const MSR = 6
export const SCR = 7

export const Ier = { received: 0x01, transmitEmpty: 0x02, lineStatus: 0x04, modemStatus: 0x08, all: 0x0f } as const
export const Iir = {
  modem: 0x00,
  none: 0x01,
  transmitEmpty: 0x02,
  received: 0x04,
  line: 0x06,
  timeout: 0x0c,
  fifo: 0xc0,
} as const
export const Fcr = { enable: 0x01, clearReceive: 0x02, triggerShift: 6 } as const
export const Lcr = { dlab: 0x80 } as const
export const Mcr = { dtr: 0x01, rts: 0x02, out1: 0x04, out2: 0x08, loop: 0x10, all: 0x1f } as const
export const Lsr = {
  ready: 0x01,
  overrun: 0x02,
  break: 0x10,
  errors: 0x1e,
  thrEmpty: 0x20,
  idle: 0x40,
  fifoError: 0x80,
} as const
export const Msr = {
  deltaCts: 0x01,
  deltaDsr: 0x02,
  trailingRi: 0x04,
  deltaDcd: 0x08,
  cts: 0x10,
  dsr: 0x20,
  ri: 0x40,
  dcd: 0x80,
  deltas: 0x0f,
} as const

/**
 * ACPI fixed hardware: PM1a event and control blocks. ACPI 6.5 §4.8.3.1 and §4.8.3.2. Left out: the PM timer and the
 * sleep states other than S5. There is no SMI command port, so the machine is always in ACPI mode (SCI_EN reads 1).
 *
 *   offset 0  PM1_STS  2 bytes, write 1 to clear
 *   offset 2  PM1_EN   2 bytes
 *   offset 4  PM1_CNT  2 bytes
 *
 * Byte accesses are enough: SLP_TYP and SLP_EN share a byte, and status bits are cleared one by one.
 */
import type { BusHandler } from '../bus/bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'

const PM1_STS = 0
const PM1_EN = 2
const PM1_CNT = 4

/** PM1_STS and PM1_EN have the power button at the same place; the other enables are kept but nothing raises them. */
const Event = { pwrbtn: 0x0100, enables: 0x0721 } as const
const Cnt = { sciEn: 0x0001, slpTypShift: 10, slpTyp: 0x1c00, slpEn: 0x2000, kept: 0x1c02 } as const

/** The SLP_TYP value that the DSDT's _S5 package must name. */
export const SLP_TYP_S5 = 5

/** Where the fixed hardware's signals go. */
export interface AcpiPmOptions {
  /** The SCI: level-triggered, usually IRQ 9. */
  readonly interrupt: InterruptLine
  /** The guest entered S5. */
  readonly onPowerOff: () => void
}

/** Power button and power off. */
export class AcpiPm implements BusHandler {
  static readonly SIZE = 6
  /** Bytes of the event block (FADT PM1_EVT_LEN) and of the control block (PM1_CNT_LEN) behind it. */
  static readonly EVENT_SIZE = 4
  static readonly CONTROL_SIZE = 2
  readonly accessSize = 1
  private status = 0
  private enable = 0
  private control = 0
  private level = false

  constructor(private readonly options: AcpiPmOptions) {}

  /** The user asks the guest to shut down. */
  pressPowerButton(): void {
    this.status |= Event.pwrbtn
    this.update()
  }

  read(offset: number): number {
    switch (offset & ~1) {
      case PM1_STS:
        return byteOf(this.status, offset)
      case PM1_EN:
        return byteOf(this.enable, offset)
      case PM1_CNT:
        return byteOf(this.control | Cnt.sciEn, offset)
      default:
        return 0
    }
  }

  write(offset: number, _size: number, value: number): void {
    switch (offset & ~1) {
      case PM1_STS:
        this.status &= ~(value << (8 * (offset & 1)))
        break
      case PM1_EN:
        this.enable = withByte(this.enable, offset, value) & Event.enables
        break
      case PM1_CNT:
        this.writeControl(withByte(this.control, offset, value))
        break
    }
    this.update()
  }

  /** Back to power-on. */
  reset(): void {
    this.status = 0
    this.enable = 0
    this.control = 0
    this.update()
  }

  private writeControl(value: number): void {
    // SLP_EN is write-only: it acts and reads as 0.
    this.control = value & Cnt.kept
    if ((value & Cnt.slpEn) === 0) return
    if ((value & Cnt.slpTyp) >>> Cnt.slpTypShift === SLP_TYP_S5) this.options.onPowerOff()
  }

  private update(): void {
    const level = (this.status & this.enable) !== 0
    if (level === this.level) return
    this.level = level
    this.options.interrupt.set(level)
  }
}

function byteOf(register: number, offset: number): number {
  return (register >>> (8 * (offset & 1))) & 0xff
}

function withByte(register: number, offset: number, value: number): number {
  const shift = 8 * (offset & 1)
  return (register & ~(0xff << shift)) | ((value & 0xff) << shift)
}

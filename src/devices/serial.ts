/**
 * Serial port: National Semiconductor PC16550D (16550A) data sheet, register for register.
 *
 * Where the host differs from a wire, and what that changes:
 * - The sink takes a byte at once, so the transmit FIFO is always empty; when the sink is full, bytes wait in a backlog,
 *   THRE and TEMT stay clear until it has drained, and no FIFO reset takes them back.
 * - There is no bit clock: the divisor and the frame format only read back, and the character time-out, which needs a
 *   timer on the chip, is there as soon as bytes below the trigger level are.
 * - OUT2 does not gate the interrupt, so that guests which forget it still get theirs.
 */
import type { BusHandler } from '../bus/bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import { NO_MIRROR, type RegisterMirror } from '../bus/mirror.ts'
import {
  Fcr,
  IER_DLM,
  Ier,
  IIR_FCR,
  Iir,
  LCR,
  Lcr,
  LSR,
  Lsr,
  MCR,
  Mcr,
  MSR,
  Msr,
  RBR_THR_DLL,
  SCR,
} from './serial-registers.ts'

const FIFO_DEPTH = 16
const TRIGGERS = [1, 4, 8, 14] as const
/** 9600 baud, as PC firmware leaves it. */
const POWER_ON_DIVISOR = 12
/** The modem on the other side is there and ready. */
const MODEM_READY = Msr.cts | Msr.dsr | Msr.dcd
/** A receive FIFO entry: the byte, and this bit if it came as a break. */
const BREAK_ENTRY = 0x100
/** A guest that does not wait for THRE can write beyond any bound; this far it loses nothing. */
const BACKLOG_LIMIT = 1 << 20

/** The chip's surroundings. */
export interface SerialOptions {
  readonly interrupt: InterruptLine
  /** Takes one byte of output; false if it cannot now, and then `outputReady` follows. */
  readonly sink: (byte: number) => boolean
  /** There is room again after `receive` took less than it was offered. */
  readonly onRoom?: () => void
  /** Take input only while the guest asserts RTS, so that nothing typed before it opens the port is thrown away. */
  readonly autoFlow?: boolean
  readonly mirror?: RegisterMirror
}

/** A 16550A UART. */
export class Serial implements BusHandler {
  static readonly SIZE = 8
  /** Writes of data may be posted: whatever the line status said, the chip takes them all. */
  static readonly POSTED: readonly number[] = [RBR_THR_DLL]
  readonly accessSize = 1
  private readonly mirror: RegisterMirror
  private ier = 0
  private lcr = 0
  private mcr = 0
  private scratch = 0
  private divisor = POWER_ON_DIVISOR
  private fifoEnabled = false
  private trigger = 1
  private readonly fifo: number[] = []
  /** Error bits that the next LSR read shows and clears. */
  private lineErrors = 0
  private modemLines: number = MODEM_READY
  private modemDeltas = 0
  /** The transmitter-empty interrupt is due; IIR reads and THR writes clear it. */
  private transmitPending = false
  private readonly backlog: number[] = []
  /** `receive` took less than it was offered, so `onRoom` is owed. */
  private starved = false
  private level = false

  constructor(private readonly options: SerialOptions) {
    this.mirror = options.mirror ?? NO_MIRROR
    this.update()
  }

  /** Input from the host: takes what fits and says how much that is; `onRoom` tells when to offer the rest. */
  receive(bytes: Uint8Array): number {
    const taken = this.isListening() ? Math.min(bytes.length, this.room()) : 0
    for (let i = 0; i < taken; i++) this.push(bytes[i]!)
    if (taken < bytes.length) this.starved = true
    if (taken > 0) this.update()
    return taken
  }

  /** A break condition on the line (Linux: the SysRq prefix). False if there is no room for it now. */
  sendBreak(): boolean {
    if (this.isLooped() || this.room() === 0) return false
    this.push(BREAK_ENTRY)
    this.update()
    return true
  }

  /** The sink has room again. */
  outputReady(): void {
    if (this.backlog.length === 0) return
    let sent = 0
    while (sent < this.backlog.length && this.options.sink(this.backlog[sent]!)) sent++
    this.backlog.splice(0, sent)
    if (this.backlog.length === 0) this.transmitPending = true
    this.update()
  }

  read(offset: number): number {
    switch (offset) {
      case RBR_THR_DLL:
        return this.isLatched() ? this.divisor & 0xff : this.readByte()
      case IER_DLM:
        return this.isLatched() ? this.divisor >>> 8 : this.ier
      case IIR_FCR:
        return this.readIdentification()
      case LCR:
        return this.lcr
      case MCR:
        return this.mcr
      case LSR:
        return this.readLineStatus()
      case MSR:
        return this.readModemStatus()
      case SCR:
        return this.scratch
      default:
        return 0
    }
  }

  write(offset: number, _size: number, value: number): void {
    switch (offset) {
      case RBR_THR_DLL:
        if (this.isLatched()) this.divisor = (this.divisor & 0xff00) | value
        else this.transmit(value)
        break
      case IER_DLM:
        if (this.isLatched()) this.divisor = (this.divisor & 0xff) | (value << 8)
        else this.writeEnable(value)
        break
      case IIR_FCR:
        this.writeFifoControl(value)
        break
      case LCR:
        this.lcr = value
        break
      case MCR:
        this.writeModemControl(value)
        break
      case SCR:
        this.scratch = value
        break
    }
  }

  /** Back to power-on; output that the guest has already written still reaches the sink. */
  reset(): void {
    this.ier = 0
    this.lcr = 0
    this.mcr = 0
    this.scratch = 0
    this.divisor = POWER_ON_DIVISOR
    this.fifoEnabled = false
    this.trigger = 1
    this.clearReceive()
    this.modemLines = MODEM_READY
    this.modemDeltas = 0
    this.transmitPending = false
    this.update()
    this.offerRoom()
  }

  private isLatched(): boolean {
    return (this.lcr & Lcr.dlab) !== 0
  }

  private isLooped(): boolean {
    return (this.mcr & Mcr.loop) !== 0
  }

  /** Whether the receiver is connected to the host and the guest wants its bytes. */
  private isListening(): boolean {
    return !this.isLooped() && (this.options.autoFlow !== true || (this.mcr & Mcr.rts) !== 0)
  }

  private room(): number {
    return (this.fifoEnabled ? FIFO_DEPTH : 1) - this.fifo.length
  }

  private readByte(): number {
    const entry = this.fifo.shift()
    if (entry === undefined) return 0
    this.revealBreak()
    this.update()
    this.offerRoom()
    return entry & 0xff
  }

  private readIdentification(): number {
    const identification = this.identify()
    // Only the source that is reported is acknowledged: a THRE interrupt behind a received byte stays.
    if ((identification & ~Iir.fifo) === Iir.transmitEmpty) {
      this.transmitPending = false
      this.update()
    }
    return identification
  }

  private readLineStatus(): number {
    const status = this.lineStatus()
    if (this.lineErrors !== 0) {
      this.lineErrors = 0
      this.update()
    }
    return status
  }

  private readModemStatus(): number {
    const status = this.modemLines | this.modemDeltas
    if (this.modemDeltas !== 0) {
      this.modemDeltas = 0
      this.update()
    }
    return status
  }

  private transmit(byte: number): void {
    // The interrupt falls and, once the byte is gone, rises again: a guest that never reads IIR needs the new edge.
    this.transmitPending = false
    this.update()
    if (this.isLooped()) this.loopBack(byte)
    else if (this.backlog.length > 0 || !this.options.sink(byte)) this.queue(byte)
    this.transmitPending = this.backlog.length === 0
    this.update()
  }

  private queue(byte: number): void {
    if (this.backlog.length < BACKLOG_LIMIT) this.backlog.push(byte)
  }

  private loopBack(byte: number): void {
    if (this.room() > 0) this.push(byte)
    else this.lineErrors |= Lsr.overrun
  }

  private writeEnable(value: number): void {
    const added = value & ~this.ier
    this.ier = value & Ier.all
    // Data sheet: enabling the interrupt while the register is empty raises it, even if it was acknowledged before.
    if ((added & Ier.transmitEmpty) !== 0 && this.backlog.length === 0) this.transmitPending = true
    this.update()
  }

  private writeFifoControl(value: number): void {
    const enable = (value & Fcr.enable) !== 0
    const changed = enable !== this.fifoEnabled
    this.fifoEnabled = enable
    // The other bits only count while bit 0 is written as 1.
    if (enable) this.trigger = TRIGGERS[value >>> Fcr.triggerShift]!
    if (changed || (enable && (value & Fcr.clearReceive) !== 0)) this.clearReceive()
    this.update()
    this.offerRoom()
  }

  private writeModemControl(value: number): void {
    this.mcr = value & Mcr.all
    const lines = this.isLooped() ? loopedLines(this.mcr) : MODEM_READY
    this.modemDeltas |= deltas(this.modemLines, lines)
    this.modemLines = lines
    this.update()
    this.offerRoom()
  }

  private push(entry: number): void {
    this.fifo.push(entry)
    if (this.fifo.length === 1) this.revealBreak()
  }

  /** The break bit belongs to a byte and shows when that byte is the next to be read. */
  private revealBreak(): void {
    const first = this.fifo[0]
    if (first === undefined || first < BREAK_ENTRY) return
    this.fifo[0] = first & 0xff
    this.lineErrors |= Lsr.break
  }

  private clearReceive(): void {
    this.fifo.length = 0
    this.lineErrors = 0
  }

  /**
   * Asks the host for more once the FIFO is empty rather than for each byte read. A guest always gets there: the
   * receive or time-out interrupt holds until it has read everything.
   */
  private offerRoom(): void {
    if (!this.starved || this.fifo.length > 0 || !this.isListening()) return
    this.starved = false
    this.options.onRoom?.()
  }

  private lineStatus(): number {
    const transmitter = this.backlog.length === 0 ? Lsr.thrEmpty | Lsr.idle : 0
    const receiver = this.fifo.length > 0 ? Lsr.ready : 0
    const broken = (this.lineErrors & Lsr.break) !== 0 || this.fifo.some(entry => entry >= BREAK_ENTRY)
    return transmitter | receiver | this.lineErrors | (this.fifoEnabled && broken ? Lsr.fifoError : 0)
  }

  /** The highest-priority source that is due and enabled. */
  private source(): number {
    if ((this.ier & Ier.lineStatus) !== 0 && (this.lineErrors & Lsr.errors) !== 0) return Iir.line
    if ((this.ier & Ier.received) !== 0 && this.fifo.length > 0)
      return this.fifoEnabled && this.fifo.length < this.trigger ? Iir.timeout : Iir.received
    if ((this.ier & Ier.transmitEmpty) !== 0 && this.transmitPending) return Iir.transmitEmpty
    if ((this.ier & Ier.modemStatus) !== 0 && this.modemDeltas !== 0) return Iir.modem
    return Iir.none
  }

  private identify(): number {
    return this.source() | (this.fifoEnabled ? Iir.fifo : 0)
  }

  /** Brings the interrupt line and the mirror in step with the state. */
  private update(): void {
    const source = this.source()
    this.mirrorAs(IIR_FCR, this.identify(), source !== Iir.transmitEmpty)
    this.mirrorAs(LSR, this.lineStatus(), this.lineErrors === 0)
    this.mirrorAs(MSR, this.modemLines, this.modemDeltas === 0)
    const level = source !== Iir.none
    if (level === this.level) return
    this.level = level
    this.options.interrupt.set(level)
  }

  private mirrorAs(offset: number, value: number, isPlain: boolean): void {
    if (isPlain) this.mirror.publish(offset, value)
    else this.mirror.withdraw(offset)
  }
}

/** In loopback the four modem outputs are the four modem inputs. */
function loopedLines(mcr: number): number {
  return (
    ((mcr & Mcr.rts) !== 0 ? Msr.cts : 0) |
    ((mcr & Mcr.dtr) !== 0 ? Msr.dsr : 0) |
    ((mcr & Mcr.out1) !== 0 ? Msr.ri : 0) |
    ((mcr & Mcr.out2) !== 0 ? Msr.dcd : 0)
  )
}

/** The delta bits for a change of modem lines; the ring indicator only counts when it ends. */
function deltas(before: number, after: number): number {
  const changed = before ^ after
  return (
    ((changed & Msr.cts) !== 0 ? Msr.deltaCts : 0) |
    ((changed & Msr.dsr) !== 0 ? Msr.deltaDsr : 0) |
    ((changed & before & Msr.ri) !== 0 ? Msr.trailingRi : 0) |
    ((changed & Msr.dcd) !== 0 ? Msr.deltaDcd : 0)
  )
}

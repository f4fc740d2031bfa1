/**
 * Real-time clock and CMOS RAM: Motorola MC146818 data sheet, plus the PC's century byte and memory sizes (ports 0x70
 * and 0x71). Left out: daylight saving, the square-wave pin, and the extended bank.
 *
 * The time is the host's plus an offset, so nothing ticks while no interrupt is enabled: flags are worked out when the
 * guest looks, and a timer is armed only for an enabled interrupt that is not already flagged. Time and RAM are battery
 * powered: a reset clears the interrupts and leaves both.
 */
import type { BusHandler } from '../bus/bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import {
  encodeTime,
  isTimeRegister,
  loadTime,
  modulo,
  nextAlarm,
  RTC_HOURS_ALARM,
  RTC_MINUTES_ALARM,
  RTC_SECONDS_ALARM,
  RtcFormat,
  storeTime,
} from './rtc-time.ts'
import type { Timer } from './timer.ts'

const INDEX_PORT = 0
const DATA_PORT = 1
/** Bit 7 of the index port masks NMI; it is not part of the index. */
const INDEX_MASK = 0x7f

const REG_A = 0x0a
const REG_B = 0x0b
const REG_C = 0x0c
const REG_D = 0x0d

const RegA = { updating: 0x80, divider: 0x70, dividerReset: 0x60, rate: 0x0f } as const
const RegB = { set: 0x80, squareWave: 0x08, format: RtcFormat.binary | RtcFormat.hours24 } as const
/** A flag in register C and its enable in register B are the same bit. */
const Irq = { any: 0x80, periodic: 0x40, alarm: 0x20, update: 0x10, all: 0x70 } as const
const REG_D_VALID = 0x80

/** 32768 Hz time base, 1024 Hz periodic rate. */
const POWER_ON_A = 0x26
const CMOS_SIZE = 128

/**
 * UIP is set 244 us before an update and stays for its 1984 us. Our update takes no time, so the bit is set for as long
 * before it: long enough that a guest which waits for it to rise sees it even when each read is a slow exit.
 */
const UPDATE_MS = 2.228
/** After the divider is released the first update comes half a second later. */
const DIVIDER_RELEASE_MS = 500

/** What the clock is built into. */
export interface RtcOptions {
  /** IRQ 8. */
  readonly interrupt: InterruptLine
  /** The host's time in ms since 1970 UTC; fractions count. */
  readonly now: () => number
  readonly timer: Timer
  /** Bytes of RAM below and above 4 GiB, for firmware-style memory detection. */
  readonly memory: { readonly below4GiB: number; readonly above4GiB: number }
}

/** The clock chip. */
export class Rtc implements BusHandler {
  static readonly SIZE = 2
  readonly accessSize = 1
  private index = 0
  private a = POWER_ON_A
  private b: number = RtcFormat.hours24
  private flags = 0
  /** RAM, alarm registers, and the time registers while the clock is stopped. */
  private readonly cmos = new Uint8Array(CMOS_SIZE)
  /** Guest time minus host time. */
  private offsetMs = 0
  /** Guest second up to which updates and alarms are accounted for. */
  private lastSecond: number
  /** Host time up to which periodic ticks are accounted for. */
  private lastTickMs: number
  private level = false
  private isArmed = false
  private readonly expired = () => {
    this.isArmed = false
    this.sync()
    this.update()
  }

  constructor(private readonly options: RtcOptions) {
    storeMemorySizes(this.cmos, options.memory.below4GiB, options.memory.above4GiB)
    this.lastTickMs = options.now()
    this.lastSecond = Math.floor(this.lastTickMs / 1000)
  }

  read(offset: number): number {
    // The index register cannot be read back.
    return offset === DATA_PORT ? this.readRegister(this.index) : 0xff
  }

  write(offset: number, _size: number, value: number): void {
    if (offset === INDEX_PORT) this.index = value & INDEX_MASK
    else if (offset === DATA_PORT) this.writeRegister(this.index, value)
  }

  /** The chip's RESET pin: interrupts off, time and RAM kept. */
  reset(): void {
    this.index = 0
    this.sync()
    this.b &= ~(Irq.all | RegB.squareWave)
    this.flags = 0
    this.update()
  }

  private readRegister(register: number): number {
    if (isTimeRegister(register) && !this.isStopped()) return encodeTime(register, this.guestMs(), this.b)
    switch (register) {
      case REG_A:
        return this.a | (this.isUpdating() ? RegA.updating : 0)
      case REG_B:
        return this.b
      case REG_C:
        return this.takeFlags()
      case REG_D:
        return REG_D_VALID
      default:
        return this.cmos[register]!
    }
  }

  private writeRegister(register: number, value: number): void {
    switch (register) {
      case REG_A:
        this.configure(value & ~RegA.updating, this.b)
        break
      case REG_B:
        // Data sheet: setting SET clears the update interrupt's enable.
        this.configure(this.a, (value & RegB.set) !== 0 ? value & ~Irq.update : value)
        break
      case REG_C:
      case REG_D:
        break
      case RTC_SECONDS_ALARM:
      case RTC_MINUTES_ALARM:
      case RTC_HOURS_ALARM:
        this.sync()
        this.cmos[register] = value
        this.update()
        break
      default:
        if (isTimeRegister(register) && !this.isStopped()) this.adjust(register, value)
        else this.cmos[register] = value
    }
  }

  /** Takes the flags and lets the line fall: the guest's acknowledgement. */
  private takeFlags(): number {
    this.sync()
    const flags = this.flags
    const any = (flags & this.b & Irq.all) !== 0 ? Irq.any : 0
    this.flags = 0
    this.update()
    return flags | any
  }

  private isStopped(): boolean {
    return (this.b & RegB.set) !== 0 || this.isDividerReset()
  }

  private isDividerReset(): boolean {
    return (this.a & RegA.dividerReset) === RegA.dividerReset
  }

  private isUpdating(): boolean {
    return !this.isStopped() && modulo(this.guestMs(), 1000) >= 1000 - UPDATE_MS
  }

  private guestMs(): number {
    return this.options.now() + this.offsetMs
  }

  /** Sets registers A and B, which may stop the clock with its registers writable, or start it from them. */
  private configure(a: number, b: number): void {
    this.sync()
    const wasStopped = this.isStopped()
    const wasDividerReset = this.isDividerReset()
    const fractionMs = wasDividerReset ? DIVIDER_RELEASE_MS : modulo(this.guestMs(), 1000)
    const oldFormat = this.b & RegB.format
    const restartsTicks = ((a ^ this.a) & (RegA.divider | RegA.rate)) !== 0
    this.a = a
    this.b = b
    if (restartsTicks) this.lastTickMs = this.options.now()
    if (!wasStopped && this.isStopped()) storeTime(this.cmos, this.guestMs(), oldFormat)
    if (wasStopped && !this.isStopped()) this.startFrom(fractionMs)
    this.update()
  }

  /** A time register written while the clock runs: the other registers keep what they read at this moment. */
  private adjust(register: number, value: number): void {
    this.sync()
    const now = this.guestMs()
    storeTime(this.cmos, now, this.b)
    this.cmos[register] = value
    this.startFrom(modulo(now, 1000))
    this.update()
  }

  private startFrom(fractionMs: number): void {
    this.offsetMs = loadTime(this.cmos, this.b) + fractionMs - this.options.now()
    this.lastSecond = Math.floor(this.guestMs() / 1000)
  }

  private periodMs(): number {
    const rate = this.a & RegA.rate
    if (rate === 0 || this.isDividerReset()) return Number.POSITIVE_INFINITY
    // Rates 1 and 2 are the same as 8 and 9 with this time base.
    return (2 ** ((rate <= 2 ? rate + 7 : rate) - 1) * 1000) / 32_768
  }

  /** Raises the flags of everything that happened since the last time. */
  private sync(): void {
    const now = this.options.now()
    const ticks = Math.floor((now - this.lastTickMs) / this.periodMs())
    if (ticks > 0) {
      this.flags |= Irq.periodic
      this.lastTickMs += ticks * this.periodMs()
    }
    // The host's clock was set back: ticks start over from there.
    if (now < this.lastTickMs) this.lastTickMs = now
    if (this.isStopped()) return
    const second = Math.floor((now + this.offsetMs) / 1000)
    if (second === this.lastSecond) return
    this.flags |= Irq.update
    if (nextAlarm(this.cmos, this.lastSecond, this.b) <= second) this.flags |= Irq.alarm
    this.lastSecond = second
  }

  /** Brings the interrupt line and the timer in step with the state. */
  private update(): void {
    const level = (this.flags & this.b & Irq.all) !== 0
    if (level !== this.level) {
      this.level = level
      this.options.interrupt.set(level)
    }
    this.schedule(this.nextEventMs())
  }

  private schedule(delayMs: number): void {
    const wasArmed = this.isArmed
    this.isArmed = delayMs !== Number.POSITIVE_INFINITY
    if (this.isArmed) this.options.timer.arm(delayMs, this.expired)
    else if (wasArmed) this.options.timer.cancel()
  }

  /** How long until an enabled interrupt whose flag is clear; one that is flagged waits for the guest, not for us. */
  private nextEventMs(): number {
    const wanted = this.b & ~this.flags
    const now = this.options.now()
    let delayMs = Number.POSITIVE_INFINITY
    if ((wanted & Irq.periodic) !== 0) delayMs = this.lastTickMs + this.periodMs() - now
    if (this.isStopped()) return Math.max(0, delayMs)
    const guestMs = now + this.offsetMs
    if ((wanted & Irq.update) !== 0) delayMs = Math.min(delayMs, (this.lastSecond + 1) * 1000 - guestMs)
    if ((wanted & Irq.alarm) !== 0)
      delayMs = Math.min(delayMs, nextAlarm(this.cmos, this.lastSecond, this.b) * 1000 - guestMs)
    return Math.max(0, delayMs)
  }
}

/** The sizes PC firmware leaves in CMOS: base and extended memory in KiB, the rest in 64 KiB units. */
function storeMemorySizes(cmos: Uint8Array, below4GiB: number, above4GiB: number): void {
  const base = Math.min(below4GiB / 1024, 640)
  const extended = clamp((below4GiB - 0x10_0000) / 1024, 0xffff)
  const above16MiB = clamp((below4GiB - 0x100_0000) / 65_536, 0xffff)
  const high = clamp(above4GiB / 65_536, 0xff_ffff)
  storeLittleEndian(cmos, 0x15, 2, base)
  storeLittleEndian(cmos, 0x17, 2, extended)
  storeLittleEndian(cmos, 0x30, 2, extended)
  storeLittleEndian(cmos, 0x34, 2, above16MiB)
  storeLittleEndian(cmos, 0x5b, 3, high)
}

function storeLittleEndian(cmos: Uint8Array, register: number, size: number, value: number): void {
  for (let i = 0; i < size; i++) cmos[register + i] = value >>> (8 * i)
}

function clamp(value: number, most: number): number {
  return Math.min(Math.max(0, Math.floor(value)), most)
}

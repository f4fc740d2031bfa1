/**
 * How the MC146818 writes a moment into its registers: BCD or binary, 12 or 24 hours, as register B says. Decoding
 * takes any bytes a guest may leave there; what is no date rolls over into one.
 */

export const RTC_SECONDS = 0x00
export const RTC_SECONDS_ALARM = 0x01
export const RTC_MINUTES = 0x02
export const RTC_MINUTES_ALARM = 0x03
export const RTC_HOURS = 0x04
export const RTC_HOURS_ALARM = 0x05
export const RTC_DAY_OF_WEEK = 0x06
export const RTC_DAY_OF_MONTH = 0x07
export const RTC_MONTH = 0x08
export const RTC_YEAR = 0x09
/** Not in the chip: the byte of its RAM that PCs agreed on, announced in FADT.CENTURY. */
export const RTC_CENTURY = 0x32

/** The format bits of register B. */
export const RtcFormat = { binary: 0x04, hours24: 0x02 } as const

const TIME_REGISTERS: readonly number[] = [
  RTC_SECONDS,
  RTC_MINUTES,
  RTC_HOURS,
  RTC_DAY_OF_WEEK,
  RTC_DAY_OF_MONTH,
  RTC_MONTH,
  RTC_YEAR,
  RTC_CENTURY,
]

/** Set in a 12-hour value after noon. */
const PM = 0x80
/** An alarm register with both top bits set matches anything. */
const ALARM_ANY = 0xc0
const SECONDS_PER_DAY = 86_400

/** Whether `register` holds a part of the time. */
export function isTimeRegister(register: number): boolean {
  return TIME_REGISTERS.includes(register)
}

/** What `register` reads at `timeMs`. */
export function encodeTime(register: number, timeMs: number, format: number): number {
  const date = new Date(timeMs)
  switch (register) {
    case RTC_SECONDS:
      return encode(date.getUTCSeconds(), format)
    case RTC_MINUTES:
      return encode(date.getUTCMinutes(), format)
    case RTC_HOURS:
      return encodeHours(date.getUTCHours(), format)
    case RTC_DAY_OF_WEEK:
      return encode(date.getUTCDay() + 1, format)
    case RTC_DAY_OF_MONTH:
      return encode(date.getUTCDate(), format)
    case RTC_MONTH:
      return encode(date.getUTCMonth() + 1, format)
    case RTC_YEAR:
      return encode(date.getUTCFullYear() % 100, format)
    default:
      return encode(Math.floor(date.getUTCFullYear() / 100), format)
  }
}

/** Writes the whole second of `timeMs` into the time registers of `cmos`. */
export function storeTime(cmos: Uint8Array, timeMs: number, format: number): void {
  for (const register of TIME_REGISTERS) cmos[register] = encodeTime(register, timeMs, format)
}

/** The moment, in ms since 1970, that the time registers of `cmos` stand for; the day of the week is not asked. */
export function loadTime(cmos: Uint8Array, format: number): number {
  const field = (register: number) => decode(cmos[register]!, format)
  const date = new Date(0)
  date.setUTCFullYear(field(RTC_CENTURY) * 100 + field(RTC_YEAR), field(RTC_MONTH) - 1, field(RTC_DAY_OF_MONTH))
  return date.setUTCHours(decodeHours(cmos[RTC_HOURS]!, format), field(RTC_MINUTES), field(RTC_SECONDS))
}

/** The first second (since 1970) after `second` at which the alarm in `cmos` rings; Infinity if it never does. */
export function nextAlarm(cmos: Uint8Array, second: number, format: number): number {
  const hours = alarmField(cmos[RTC_HOURS_ALARM]!, value => decodeHours(value, format))
  const minutes = alarmField(cmos[RTC_MINUTES_ALARM]!, value => decode(value, format))
  const seconds = alarmField(cmos[RTC_SECONDS_ALARM]!, value => decode(value, format))
  const first = second + 1
  // Skips whole hours and minutes that do not match, so this ends after some 150 steps.
  for (let at = first; at <= first + SECONDS_PER_DAY; ) {
    const ofDay = modulo(at, SECONDS_PER_DAY)
    if (hours !== undefined && hours !== Math.floor(ofDay / 3600)) at += 3600 - (ofDay % 3600)
    else if (minutes !== undefined && minutes !== Math.floor(ofDay / 60) % 60) at += 60 - (ofDay % 60)
    else if (seconds !== undefined && seconds !== ofDay % 60) at += 1
    else return at
  }
  return Number.POSITIVE_INFINITY
}

function alarmField(raw: number, decodeField: (value: number) => number): number | undefined {
  return raw >= ALARM_ANY ? undefined : decodeField(raw)
}

function encode(value: number, format: number): number {
  // The mask is for years outside 0 to 9999, which a guest can make up.
  return ((format & RtcFormat.binary) !== 0 ? value : (Math.floor(value / 10) << 4) | (value % 10)) & 0xff
}

function decode(raw: number, format: number): number {
  return (format & RtcFormat.binary) !== 0 ? raw : (raw >>> 4) * 10 + (raw & 0x0f)
}

function encodeHours(hours: number, format: number): number {
  if ((format & RtcFormat.hours24) !== 0) return encode(hours, format)
  return encode(hours % 12 === 0 ? 12 : hours % 12, format) | (hours >= 12 ? PM : 0)
}

function decodeHours(raw: number, format: number): number {
  if ((format & RtcFormat.hours24) !== 0) return decode(raw, format)
  return (decode(raw & ~PM, format) % 12) + ((raw & PM) !== 0 ? 12 : 0)
}

/** Like `%`, but never negative: a guest may set a time before 1970. */
export function modulo(value: number, divisor: number): number {
  return value - Math.floor(value / divisor) * divisor
}

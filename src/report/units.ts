/** Figures for people: times, sizes, addresses, rights. */

/** A time span from nanoseconds to hours, with three digits. */
export function formatTime(ms: number): string {
  const us = ms * 1000
  if (us === 0) return '0 s'
  if (us < 0.9995) return `${Math.round(us * 1000)} ns`
  if (us < 999.5) return `${digits(us)} us`
  if (ms < 999.5) return `${digits(ms)} ms`
  if (ms < 119_950) return `${digits(ms / 1000)} s`
  const minutes = Math.round(ms / 60_000)
  return minutes < 120 ? `${minutes} min` : `${digits(minutes / 60)} h`
}

const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** A size in binary units; whole ones without a fraction. */
export function formatBytes(bytes: number): string {
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < SIZES.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number.isInteger(value) ? value : digits(value)} ${SIZES[unit]}`
}

/** A count with a space between thousands. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ' ')
}

/** An address as Linux prints it. */
export function formatAddress(address: number): string {
  return `0x${address.toString(16)}`
}

/** An inclusive range. */
export function formatRange(start: number, end: number): string {
  return `${formatAddress(start)}-${formatAddress(end)}`
}

/** Rights of `MapFlag`, as "rw" or "r-", with "m" for MMIO. */
export function formatRights(flags: number): string {
  return `${(flags & 1) !== 0 ? 'r' : '-'}${(flags & 2) !== 0 ? 'w' : '-'}${(flags & 4) !== 0 ? 'm' : ''}`
}

/** "1 fault", "2 faults"; `many` where it is not made with an s. */
export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : many}`
}

/** Three digits, without zeros at the end. */
function digits(value: number): string {
  const text = value.toPrecision(3)
  return text.includes('e') ? String(Math.round(value)) : text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

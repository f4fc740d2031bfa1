/** What endpoints may do with a mapping; masks. `read` and `write` are those of `Access`. */
export const MapFlag = {
  read: 1,
  write: 2,
  /** Registers of a device rather than memory. */
  mmio: 4,
} as const

/** What a network device counts, for `stat`. */

/** Cumulative, over all queues. */
export interface NetCounters {
  rxPackets: number
  rxBytes: number
  /** Packets that were too large for the driver's buffers. */
  rxDropped: number
  /** Packets that the driver's filter kept out. */
  rxFiltered: number
  /** How often the driver's buffers ran out. */
  rxStarved: number
  txPackets: number
  txBytes: number
  /** Packets that were malformed, or that the host refused. */
  txDropped: number
  /** How often the host had no room for a packet. */
  txBlocked: number
}

/** All zero. */
export function netCounters(): NetCounters {
  return {
    rxPackets: 0,
    rxBytes: 0,
    rxDropped: 0,
    rxFiltered: 0,
    rxStarved: 0,
    txPackets: 0,
    txBytes: 0,
    txDropped: 0,
    txBlocked: 0,
  }
}

/** A mapping as the trace tells of it: where, with what rights, from when to when. */

/** Why a mapping ended. */
export type MappingEnd = 'UNMAP' | 'DETACH' | 'ATTACH' | 'reset'

/** Times are milliseconds since the trace's start; ranges are inclusive. */
export interface Mapping {
  readonly domain: number
  readonly start: number
  readonly end: number
  readonly phys: number
  /** Of `MapFlag`. */
  readonly flags: number
  /** Of the MAP request. */
  readonly seq: number
  readonly bornMs: number
  /** Undefined: it is still there at the end of the trace. */
  diedMs: number | undefined
  endedBy: MappingEnd | undefined
}

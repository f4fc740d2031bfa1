/** Why an access was refused, as far as the trace tells: the nearest mapping, and what became of it. */

import type { FaultEvent, RequestEvent, StartEndpoint } from '../iommu/events.ts'
import { MapFlag } from '../iommu/mapping-flags.ts'
import type { Mapping } from './mapping.ts'
import type { Replay } from './replay.ts'
import { formatBytes, formatRange, formatRights, formatTime } from './units.ts'

/** Kinds of causes, and what a table calls them. */
export const CAUSES = {
  afterUnmap: 'use after unmap',
  duringUnmap: 'use during unmap',
  rights: 'no right to do so',
  reserved: 'reserved region',
  refused: 'inside a mapping, and refused',
  behind: 'behind a mapping',
  before: 'in front of a mapping',
  unmapped: 'nothing mapped near',
  noDomain: 'endpoint in no domain',
  noMemory: 'mapped to no memory',
} as const

/** See above. */
export interface FaultCause {
  readonly cause: keyof typeof CAUSES
  /** One sentence without its full stop. */
  readonly text: string
}

/** Farther neighbours say nothing about an access. */
const NEAR_BYTES = 1 << 20

/** What the trace told before the fault. */
export interface FaultContext {
  readonly replay: Replay
  /** Requests without an answer. */
  readonly pending: Iterable<RequestEvent>
  readonly reserved: NonNullable<StartEndpoint['reserved']>
}

/** Looks for the cause. */
export function faultCause(fault: FaultEvent, { replay, pending, reserved }: FaultContext): FaultCause {
  const address = Number(fault.address)
  const region = reserved.find(({ start, end }) => Number(start) <= address && address <= Number(end))
  if (region !== undefined) {
    const what = region.kind === 'msi' ? 'the region for MSIs' : 'the reserved region'
    return { cause: 'reserved', text: `inside ${what} ${region.start}-${region.end}` }
  }
  const domain = fault.domain === undefined ? replay.domainWith(fault.endpoint) : replay.domains.get(fault.domain)
  if (fault.reason === 'domain' || (domain === undefined && fault.domain === undefined)) return departed(fault, replay)
  const id = domain?.id ?? fault.domain ?? 0
  const removal = unmapOf(pending, id, address)
  if (removal !== undefined) return { cause: 'duringUnmap', text: `while UNMAP #${removal.seq} took the mapping away` }
  const mapping = domain?.mappings.at(address)
  if (mapping !== undefined) return inside(fault, mapping)
  return neighbour(fault.t, address, id, replay)
}

function departed({ endpoint, t }: FaultEvent, replay: Replay): FaultCause {
  const departure = replay.departures.get(endpoint)
  if (departure === undefined) return { cause: 'noDomain', text: 'the endpoint was not attached to a domain yet' }
  const how = departure.cause === 'reset' ? 'a reset detached it' : 'it was detached'
  return { cause: 'noDomain', text: `${how} ${formatTime(t - departure.atMs)} before` }
}

function unmapOf(pending: Iterable<RequestEvent>, domain: number, address: number): RequestEvent | undefined {
  for (const request of pending)
    if (
      request.request === 'UNMAP' &&
      request.domain === domain &&
      Number(request.start) <= address &&
      address <= Number(request.end)
    )
      return request
  return undefined
}

/** The address is mapped. */
function inside({ access, reason }: FaultEvent, mapping: Mapping): FaultCause {
  const where = nameOf(mapping)
  if (reason === 'unknown') return { cause: 'noMemory', text: `inside ${where}, which leads to no memory` }
  const needed = (access.includes('read') ? MapFlag.read : 0) | (access.includes('write') ? MapFlag.write : 0)
  if ((mapping.flags & needed) !== needed) return { cause: 'rights', text: `${access} inside ${where}` }
  return { cause: 'refused', text: `inside ${where}, which allows it` }
}

/** The address is not mapped: the nearest mapping of now, or of a moment ago. */
function neighbour(t: number, address: number, domain: number, replay: Replay): FaultCause {
  const mappings = replay.domains.get(domain)?.mappings
  let nearest: Mapping | undefined
  let nearestBytes = NEAR_BYTES
  for (const mapping of [mappings?.below(address), mappings?.above(address)])
    if (mapping !== undefined && distance(mapping, address) < nearestBytes) {
      nearest = mapping
      nearestBytes = distance(mapping, address)
    }
  for (const mapping of replay.recentlyEnded(domain)) {
    const bytes = distance(mapping, address)
    if (bytes === 0) return { cause: 'afterUnmap', text: `inside ${nameOf(mapping)}, which ${ending(mapping, t)}` }
    if (bytes < nearestBytes) {
      nearest = mapping
      nearestBytes = bytes
    }
  }
  if (nearest === undefined) return { cause: 'unmapped', text: 'no mapping is near, and none was' }
  const gone = nearest.diedMs === undefined ? '' : `, which ${ending(nearest, t)}`
  // Neighbours without a gap are 1 apart.
  if (nearest.end < address)
    return { cause: 'behind', text: `${gap(nearestBytes)} behind the end of ${nameOf(nearest)}${gone}` }
  return { cause: 'before', text: `${gap(nearestBytes)} in front of ${nameOf(nearest)}${gone}` }
}

function gap(distanceBytes: number): string {
  return distanceBytes === 1 ? 'right' : formatBytes(distanceBytes - 1)
}

/** How far an address is from a mapping; 0 inside. */
function distance({ start, end }: Mapping, address: number): number {
  return address < start ? start - address : Math.max(0, address - end)
}

function ending({ diedMs = 0, endedBy }: Mapping, t: number): string {
  const how = endedBy === 'UNMAP' ? 'was unmapped' : endedBy === 'reset' ? 'a reset removed' : `${endedBy} removed`
  return `${how} ${formatTime(Math.max(0, t - diedMs))} before`
}

function nameOf({ start, end, flags, seq }: Mapping): string {
  return `${formatRange(start, end)} (${formatRights(flags)}, MAP #${seq})`
}

/** An access of an endpoint that the IOMMU did not let through. */
import { type FaultEvent, hex, type Untimed } from './events.ts'

export const FaultReason = {
  /** Something else: the address is mapped, but to nothing that answers. */
  unknown: 0,
  /** The endpoint is in no domain, and does not bypass the IOMMU. */
  domain: 1,
  /** No mapping, or not with this right; or a reserved region. */
  mapping: 2,
} as const

export interface Fault {
  /** Id of the endpoint. */
  readonly endpoint: number
  readonly reason: (typeof FaultReason)[keyof typeof FaultReason]
  /** Of `Access`: what was tried. */
  readonly access: number
  /** The first I/O virtual address that was refused. */
  readonly address: number
  /** For people: "disk0". */
  readonly name: string
  /** The host's IOMMU refused it; absent: this program did. */
  readonly source?: 'host'
  /** The host's own words. */
  readonly detail?: string
}

const REASONS = {
  [FaultReason.unknown]: 'unknown',
  [FaultReason.domain]: 'domain',
  [FaultReason.mapping]: 'mapping',
} as const
/** By the bits of `Access`. */
const ACCESSES = ['none', 'read', 'write', 'read+write'] as const

/** A fault in the form of the trace. `domain`: that of the endpoint, if it is in one. */
export function faultEvent(fault: Fault, domain: number | undefined): Untimed<FaultEvent> {
  const { endpoint, name, reason, access, address, source, detail } = fault
  return {
    type: 'fault',
    endpoint,
    name,
    reason: REASONS[reason],
    access: ACCESSES[access & 3] as string,
    address: hex(address),
    ...(domain === undefined ? {} : { domain }),
    ...(source === undefined ? {} : { source }),
    ...(detail === undefined ? {} : { detail }),
  }
}

/**
 * Everything that happens at the IOMMU, as plain data in the form of the trace's JSON lines. Addresses and ids that are
 * bit patterns are hexadecimal strings ("0x1000"), so that 64-bit values survive; ranges are inclusive.
 *
 * Events are made only while somebody traces.
 */

/** Of every event. */
interface At {
  /** Milliseconds since the machine's start, with microseconds behind the point. */
  readonly t: number
}

/** The first line: what the trace is of. */
export interface StartEvent extends At {
  readonly type: 'start'
  /** Of the format: 1. */
  readonly version: number
  readonly granule: number
  readonly input: readonly [string, string]
  readonly domains: readonly [number, number]
  readonly bypass: boolean
  readonly endpoints: readonly StartEndpoint[]
}

export interface StartEndpoint {
  readonly id: number
  readonly name: string
  /** Domain that it is attached to already: the trace begins while the guest runs. */
  readonly domain?: number
  /** Absent: it has none. */
  readonly reserved?: readonly { readonly kind: 'reserved' | 'msi'; readonly start: string; readonly end: string }[]
}

/** A driver's request as it was read. Fields that the request does not have, or that were not there, are absent. */
export interface RequestEvent extends At {
  readonly type: 'request'
  /** From 1 on, in the order of the queue. */
  readonly seq: number
  /** "ATTACH", "DETACH", "MAP", "UNMAP", "PROBE" or "0x12" for an unknown type. */
  readonly request: string
  readonly domain?: number
  readonly endpoint?: number
  readonly start?: string
  readonly end?: string
  readonly phys?: string
  readonly flags?: number
  /** Bytes of the device-readable part in hexadecimal, at most 76. */
  readonly bytes: string
}

/** The device's answer to the request of the same `seq`. */
export interface ReplyEvent extends At {
  readonly type: 'reply'
  readonly seq: number
  /** VIRTIO_IOMMU_S_*, without the prefix ("OK", "NOENT"); absent when there was no room for a tail. */
  readonly status?: string
  /** Used length. */
  readonly written: number
  /** Microseconds from reading the request to the answer, waiting for devices included. */
  readonly us: number
}

/** An endpoint's access was refused. */
export interface FaultEvent extends At {
  readonly type: 'fault'
  readonly endpoint: number
  readonly name: string
  readonly reason: 'unknown' | 'domain' | 'mapping'
  /** "read", "write" or "read+write". */
  readonly access: string
  readonly address: string
  /** Absent while the endpoint is in none. */
  readonly domain?: number
  /** The host's IOMMU refused it, and said so later; absent: this program did. */
  readonly source?: 'host'
  /** The host's own words. */
  readonly detail?: string
}

/** A back end could not do what a request means. */
export interface BackendEvent extends At {
  readonly type: 'backend'
  /** "group 7". */
  readonly name: string
  readonly refused: 'MAP' | 'UNMAP' | 'ATTACH' | 'DETACH' | 'bypass'
  /** A name of `Outcome`. */
  readonly outcome: string
  /** What the host said: "VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)". */
  readonly error?: string
}

/** Translations were taken back. */
export interface InvalidationEvent extends At {
  readonly type: 'invalidation'
  readonly cause: 'UNMAP' | 'DETACH' | 'ATTACH' | 'reset' | 'bypass'
  readonly domain?: number
  readonly start: string
  readonly end: string
  /** Mappings that went. */
  readonly mappings: number
  /** Endpoints whose devices kept one of these translations. */
  readonly endpoints: readonly number[]
  /** Microseconds until no device used them any more. */
  readonly waitedUs: number
}

/** A fault could not be told to the driver: no buffer, or one that is too small. */
export interface DropEvent extends At {
  readonly type: 'drop'
  readonly endpoint: number
  readonly address: string
  readonly cause: string
}

/** The driver, or the machine, reset the device; or wrote its configuration. */
export interface LifeEvent extends At {
  readonly type: 'reset' | 'features' | 'bypass'
  /** Negotiated features in hexadecimal, or the new value of `bypass`. */
  readonly value?: string
}

/** The driver broke a rule of the specification. */
export interface FindingEvent extends At {
  readonly type: 'finding'
  /** The rule's short name, such as "map-overlap". */
  readonly name: string
  /** "VIRTIO 1.2 §5.13.6.5.1". */
  readonly section: string
  /** One sentence with the values. */
  readonly text: string
  /** The offending bytes in hexadecimal; empty when there are none. */
  readonly bytes: string
  readonly seq?: number
}

export type IommuEvent =
  | StartEvent
  | RequestEvent
  | ReplyEvent
  | FaultEvent
  | BackendEvent
  | InvalidationEvent
  | DropEvent
  | LifeEvent
  | FindingEvent

/** An event without its time, which the trace adds. */
export type Untimed<E = IommuEvent> = E extends unknown ? Omit<E, 't'> : never

/** Takes events. */
export type IommuTracer = (event: Untimed) => void

/** An address as events have it. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`
}

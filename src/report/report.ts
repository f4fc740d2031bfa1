/** What a trace tells, as plain data: the page, the terminal form and `--json` are made from it. */
import type { Summary } from './histogram.ts'
import type { Mapping } from './mapping.ts'
import type { Step } from './timeline.ts'

/** Kinds of requests that have a column of their own, in the order of pictures. */
export const KINDS = ['MAP', 'UNMAP', 'ATTACH', 'DETACH', 'PROBE', 'other'] as const
export type Kind = (typeof KINDS)[number]

export interface KindReport {
  readonly kind: Kind
  readonly count: number
  /** Answered with another status than OK, or not at all. */
  readonly failed: number
  /** Microseconds from reading the request to its answer. */
  readonly latency: Summary
}

/** Requests that failed in the same way. */
export interface FailureReport {
  readonly request: string
  /** "none": no room for an answer; "unanswered": the trace ends before. */
  readonly status: string
  readonly count: number
  /** The first one. */
  readonly seq: number
  readonly atMs: number
  /** Its fields, for people. */
  readonly detail: string
  readonly bytes: string
}

/** Faults with the same endpoint, access and kind of cause. */
export interface FaultReport {
  readonly endpoint: number
  readonly name: string
  readonly domain: number | undefined
  readonly reason: string
  readonly access: string
  readonly cause: string
  readonly count: number
  readonly low: number
  readonly high: number
  readonly firstMs: number
  readonly lastMs: number
  /** The first ones. */
  readonly examples: readonly { readonly atMs: number; readonly address: number; readonly text: string }[]
}

export interface FindingReport {
  readonly name: string
  readonly section: string
  readonly count: number
  readonly atMs: number
  readonly text: string
  readonly bytes: string
  readonly seq: number | undefined
}

/** Mappings of one size that the driver did not remove; their ages are at the end of the trace, or at the reset. */
export interface LeakReport {
  readonly domain: number
  /** Of each. */
  readonly sizeBytes: number
  readonly flags: number
  readonly count: number
  readonly bytes: number
  readonly oldestMs: number
  readonly youngestMs: number
  /** The first ones by address. */
  readonly examples: readonly Mapping[]
}

export interface DomainReport {
  readonly id: number
  readonly bypass: boolean
  /** Names of all endpoints that it ever had. */
  readonly endpoints: readonly string[]
  readonly maps: number
  readonly peakMappings: number
  readonly peakBytes: number
  /** At the end of the trace. */
  readonly mappings: number
  readonly bytes: number
  /** Runs of adjacent mappings at the end. */
  readonly runs: number
}

/** An invalidation that had to wait for devices. */
export interface WaitReport {
  readonly atMs: number
  readonly cause: string
  readonly domain: number | undefined
  readonly start: string
  readonly end: string
  readonly mappings: number
  readonly endpoints: readonly string[]
  readonly waitedUs: number
}

export interface Report {
  readonly name: string
  readonly lines: number
  readonly isTruncated: boolean
  /** The trace begins with the machine's start line. */
  readonly hasStart: boolean
  readonly granule: number | undefined
  readonly input: readonly [string, string] | undefined
  readonly bypass: boolean | undefined
  /** Start lines: more than one when the machine started again, or tracing did. */
  readonly starts: number
  readonly firstMs: number
  readonly lastMs: number
  readonly endpoints: readonly { readonly id: number; readonly name: string; readonly faults: number }[]
  readonly kinds: readonly KindReport[]
  readonly requests: number
  readonly failed: number
  /** Counts by `KINDS`, and faults as the last one; the gauge has the mappings. */
  readonly timeline: { readonly stepMs: number; readonly steps: readonly Step[] }
  readonly peakMappings: number
  readonly peakBytes: number
  readonly domains: readonly DomainReport[]
  /** Milliseconds; of those that the driver removed. */
  readonly lifetimes: Summary
  /** That the driver did not remove. */
  readonly leakedMappings: number
  readonly leakedBytes: number
  /** Those of them that went with a reset. */
  readonly resetMappings: number
  readonly leaks: readonly LeakReport[]
  readonly failures: readonly FailureReport[]
  readonly faultCount: number
  readonly faults: readonly FaultReport[]
  readonly drops: readonly { readonly cause: string; readonly count: number }[]
  readonly findings: readonly FindingReport[]
  readonly invalidations: number
  /** Mappings removed that the trace never saw made. */
  readonly unseen: number
  readonly waits: number
  readonly longestWaits: readonly WaitReport[]
  /** Resets, negotiations, changes of bypass, and what the host refused; the first ones. */
  readonly life: readonly { readonly atMs: number; readonly what: string }[]
}

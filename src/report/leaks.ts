/** Mappings that the driver did not remove before the trace's end, or before a reset. */
import type { Mapping } from './mapping.ts'
import type { LeakReport } from './report.ts'

/** Groups; smaller ones are left out. */
const MAX_GROUPS = 100
const MAX_EXAMPLES = 8

/** Groups `mappings` by domain, size and rights; the most memory first. */
export function leaksOf(mappings: readonly Mapping[], nowMs: number): readonly LeakReport[] {
  const groups = Map.groupBy(mappings, ({ domain, start, end, flags }) => `${domain} ${end - start} ${flags}`)
  return [...groups.values()]
    .map(group => leak(group, nowMs))
    .sort((a, b) => b.bytes - a.bytes || b.count - a.count)
    .slice(0, MAX_GROUPS)
}

/** Runs of mappings without a gap, which are given by rising address. */
export function runsOf(mappings: readonly Mapping[]): number {
  return mappings.filter(({ start }, index) => mappings[index - 1]?.end !== start - 1).length
}

function leak(group: readonly Mapping[], nowMs: number): LeakReport {
  const { domain = 0, start = 0, end = -1, flags = 0 } = group[0] ?? {}
  const sizeBytes = end - start + 1
  let oldestMs = 0
  let youngestMs = Number.POSITIVE_INFINITY
  for (const { bornMs, diedMs = nowMs } of group) {
    oldestMs = Math.max(oldestMs, diedMs - bornMs)
    youngestMs = Math.min(youngestMs, diedMs - bornMs)
  }
  return {
    domain,
    sizeBytes,
    flags,
    count: group.length,
    bytes: sizeBytes * group.length,
    oldestMs,
    youngestMs,
    examples: group.slice(0, MAX_EXAMPLES),
  }
}

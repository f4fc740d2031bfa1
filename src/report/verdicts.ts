/** What in a report wants to be looked at, the worst first. */
import type { Report } from './report.ts'
import { formatBytes, formatCount, formatTime, plural } from './units.ts'

export interface Verdict {
  readonly level: 'bad' | 'note'
  /** One sentence without its full stop. */
  readonly text: string
  /** The page's section with more. */
  readonly section: string
}

/** Causes that are the driver's own mistakes, whatever else there is. */
const WORST = 'use after unmap'

/** See above. Empty: nothing does. */
export function verdicts(report: Report): readonly Verdict[] {
  const found: (Verdict | false)[] = [...mistakes(report), ...notes(report)]
  return found.filter(verdict => verdict !== false)
}

function mistakes(report: Report): readonly (Verdict | false)[] {
  const { findings, faults, faultCount, failed, requests } = report
  const breaches = findings.reduce((sum, { count }) => sum + count, 0)
  const stale = faults.filter(({ cause }) => cause === WORST).reduce((sum, { count }) => sum + count, 0)
  const drops = report.drops.reduce((sum, { count }) => sum + count, 0)
  return [
    findings.length > 0 && {
      level: 'bad',
      text: `${plural(breaches, 'breach', 'breaches')} of the specification: ${findings
        .slice(0, 4)
        .map(({ name }) => name)
        .join(', ')}${findings.length > 4 ? ', ...' : ''}`,
      section: 'findings',
    },
    faultCount > 0 && {
      level: 'bad',
      text: `${plural(faultCount, 'access', 'accesses')} refused${stale > 0 ? `, ${formatCount(stale)} of them after UNMAP` : ''}`,
      section: 'faults',
    },
    failed > 0 && {
      level: 'bad',
      text: `${plural(failed, 'request')} of ${formatCount(requests)} failed`,
      section: 'failed',
    },
    drops > 0 && {
      level: 'bad',
      text: `${plural(drops, 'fault')} could not be told to the driver`,
      section: 'faults',
    },
  ]
}

function notes(report: Report): readonly (Verdict | false)[] {
  const { leakedMappings, leakedBytes, resetMappings, waits, longestWaits, unseen, isTruncated, hasStart, starts } =
    report
  return [
    leakedMappings > 0 && {
      level: 'note',
      text: `${plural(leakedMappings, 'mapping')} (${formatBytes(leakedBytes)}) never removed${resetMappings > 0 ? `, ${formatCount(resetMappings)} of them gone with a reset` : ''}`,
      section: 'leaks',
    },
    waits > 0 && {
      level: 'note',
      text: `${plural(waits, 'invalidation')} waited for devices, ${formatTime((longestWaits[0]?.waitedUs ?? 0) / 1000)} at most`,
      section: 'waits',
    },
    !hasStart && { level: 'note', text: 'the trace begins in the middle of a run', section: 'summary' },
    unseen > 0 && {
      level: 'note',
      text: `${plural(unseen, 'mapping')} removed that the trace never saw made`,
      section: 'summary',
    },
    starts > 1 && {
      level: 'note',
      text: `the trace begins ${starts} times: the guest reset, or nobody traced in between`,
      section: 'summary',
    },
    isTruncated && { level: 'note', text: 'the last line is cut off and was left out', section: 'summary' },
  ]
}

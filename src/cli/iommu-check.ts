/** `--iommu-check`: the guest's breaches of the IOMMU's specification decide about the run. */
import type { IommuFinding } from '../machine/iommu-view.ts'
import { type End, Status } from './status.ts'

/** One line for each finding. */
export function findingLines(findings: readonly IommuFinding[]): readonly string[] {
  return findings.map(({ name, section, text, bytes, count }) => {
    const times = count === 1 ? '' : `, ${count} times`
    return `iommu: ${name} (${section})${times}: ${text}${bytes === '' ? '' : ` [${bytes}]`}`
  })
}

/** Those of a guest and of the same one before it reset: each rule once. */
export function joinFindings(before: readonly IommuFinding[], now: readonly IommuFinding[]): readonly IommuFinding[] {
  const joined = new Map(before.map(finding => [finding.name, finding]))
  for (const finding of now) {
    const known = joined.get(finding.name)
    joined.set(finding.name, known === undefined ? finding : { ...known, count: known.count + finding.count })
  }
  return [...joined.values()]
}

/** Findings turn a good end into status 3; other failures keep their own status, as they may be the cause. */
export function judgeFindings(end: End, findings: readonly IommuFinding[]): End {
  if (findings.length === 0 || end.status !== Status.ok) return end
  const rules = findings.length === 1 ? 'a rule' : `${findings.length} rules`
  return {
    ...end,
    status: Status.findings,
    message: `the guest's driver of the IOMMU broke ${rules} of its specification`,
  }
}

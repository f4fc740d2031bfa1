/** What became of a request to the IOMMU; a front end turns it into its own status. */
export const Outcome = {
  ok: 0,
  /** A parameter makes no sense. */
  invalid: 1,
  /** An address is not aligned, outside the input range, or would split a mapping. */
  range: 2,
  /** There is no such endpoint or domain. */
  noEntry: 3,
  /** A limit is reached. */
  noMemory: 4,
  /** The parameters make sense, but cannot be had together. */
  unsupported: 5,
  /** A back end failed: the host's fault, which it tells. */
  deviceError: 6,
} as const

export type Outcome = (typeof Outcome)[keyof typeof Outcome]

/** For people and traces: "noMemory". */
export function outcomeName(outcome: Outcome): string {
  return Object.entries(Outcome).find(([, value]) => value === outcome)?.[0] ?? String(outcome)
}

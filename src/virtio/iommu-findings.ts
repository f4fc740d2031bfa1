/**
 * What a guest's driver does against the specification: one finding for each rule, with the first breach of it and how
 * often it came again. The rules are VIRTIO 1.2's for drivers of an IOMMU device, and those requests that the device has
 * to refuse whatever the driver meant.
 */
import type { FindingEvent, Untimed } from '../iommu/events.ts'

/** Sections of VIRTIO 1.2 that say so. */
const RULES = {
  // The device as a whole.
  'feature-declined': '§5.13.3.1',
  'config-read-only': '§5.13.4.1',
  'bypass-value': '§5.13.4.1',
  'bypass-not-negotiated': '§5.13.4.1',
  'event-buffer-size': '§5.13.6.9',
  // Every request.
  'request-size': '§5.13.6',
  'no-tail': '§5.13.6',
  'unknown-type': '§5.13.6',
  'head-reserved': '§5.13.6.1',
  'domain-range': '§5.13.6.1',
  'input-range': '§5.13.6.1',
  'unknown-endpoint': '§5.13.6.3',
  // ATTACH.
  'attach-unprobed': '§5.13.5.1',
  'attach-reserved': '§5.13.6.3.1',
  'attach-flags': '§5.13.6.3.2',
  'attach-bypass-not-negotiated': '§5.13.6.3',
  'attach-bypass-mismatch': '§5.13.6.3.1',
  'attach-reserved-region': '§5.13.6.8.1.1',
  // DETACH.
  'detach-reserved': '§5.13.6.4.1',
  'detach-wrong-domain': '§5.13.6.4.2',
  // MAP.
  'map-not-negotiated': '§5.13.6.5',
  'map-flags': '§5.13.6.5.1',
  'map-mmio-not-negotiated': '§5.13.6.5.1',
  'map-order': '§5.13.6.5.1',
  'map-no-domain': '§5.13.6.5.2',
  'map-bypass-domain': '§5.13.6.5.1',
  'map-unaligned': '§5.13.6.5.2',
  'map-phys': '§5.13.6.5',
  'map-overlap': '§5.13.6.5.2',
  'map-reserved-region': '§5.13.6.8.1.1',
  // UNMAP.
  'unmap-not-negotiated': '§5.13.6.6',
  'unmap-reserved': '§5.13.6.6.1',
  'unmap-order': '§5.13.6.6.1',
  'unmap-no-domain': '§5.13.6.6.2',
  'unmap-bypass-domain': '§5.13.6.6.1',
  'unmap-split': '§5.13.6.6.1',
  'unmap-nothing': '§5.13.6.6.1',
  // PROBE.
  'probe-not-negotiated': '§5.13.6.7',
  'probe-reserved': '§5.13.6.7.1',
  'probe-size': '§5.13.6.7.1',
} as const satisfies Readonly<Record<string, string>>

export type RuleName = keyof typeof RULES

/** One rule that was broken; plain data. */
export interface IommuFinding {
  readonly name: RuleName
  /** "VIRTIO 1.2 §5.13.6.5.1". */
  readonly section: string
  /** One sentence about the first breach, with the values. */
  readonly text: string
  /** The first breach's bytes in hexadecimal; empty when there are none. */
  readonly bytes: string
  /** Breaches, this one included. */
  readonly count: number
  /** Number of the request; absent when it was none. */
  readonly seq?: number
}

/** What broke the rule. */
export interface Offence {
  readonly seq: number
  readonly bytes: string
}

/** Collects them. */
export class IommuFindings {
  /** Breaches of all rules. */
  total = 0
  private readonly byName = new Map<RuleName, { first: Omit<IommuFinding, 'count'>; count: number }>()

  /** `onFinding`: told of the first breach of each rule. `tracer`: told of every breach, while there is one. */
  constructor(
    private readonly onFinding: (finding: IommuFinding) => void,
    private readonly tracer: () => ((event: Untimed<FindingEvent>) => void) | undefined,
  ) {}

  /** `text` is asked only when somebody will read it, as a driver may break rules all day. */
  add(name: RuleName, text: () => string, offence?: Offence): void {
    this.total++
    const known = this.byName.get(name)
    if (known !== undefined) known.count++
    const trace = this.tracer()
    if (known !== undefined && trace === undefined) return
    const finding = {
      name,
      section: `VIRTIO 1.2 ${RULES[name]}`,
      text: text(),
      bytes: offence?.bytes ?? '',
      ...(offence === undefined ? {} : { seq: offence.seq }),
    }
    if (known === undefined) {
      this.byName.set(name, { first: finding, count: 1 })
      this.onFinding({ ...finding, count: 1 })
    }
    trace?.({ type: 'finding', ...finding })
  }

  /** In the order of their first breaches. */
  get list(): readonly IommuFinding[] {
    return [...this.byName.values()].map(({ first, count }) => ({ ...first, count }))
  }
}

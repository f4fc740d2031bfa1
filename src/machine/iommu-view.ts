/**
 * A view into the IOMMU of a machine, for tests of guest drivers: its state, mappings and events, the driver's breaches
 * of the specification, and faults on demand.
 */
import type { IommuEvent } from '../iommu/events.ts'
import type { FaultReason } from '../iommu/fault.ts'
import type { IommuState, MappingState } from '../iommu/state.ts'
import type { Access } from '../memory/dma-space.ts'
import type { IommuFinding } from '../virtio/iommu-findings.ts'
import { deliver, IommuTrace } from './iommu-trace.ts'

export type { IommuEvent } from '../iommu/events.ts'
export type { IommuCounters, MappingState } from '../iommu/state.ts'
export type { IommuFinding } from '../virtio/iommu-findings.ts'

/** Mappings of one request; as many as an answer holds. */
const PAGE = 4096

/** A fault to be reported to the guest, as if a device had caused it. */
export interface InjectedFault {
  /** The device's name ("disk0"), or the endpoint's id. */
  readonly endpoint: string | number
  readonly address: number
  /** Default: "mapping". */
  readonly reason?: keyof typeof FaultReason
  /** Default: "read". */
  readonly access?: keyof typeof Access
}

/** The IOMMU's state with the counters of its virtio device. */
export interface IommuViewState extends IommuState {
  readonly device: Readonly<Record<string, number>>
}

/** The IOMMU's last words. */
export interface IommuEnd {
  readonly state: IommuViewState
  readonly findings: readonly IommuFinding[]
}

/** Asks the device thread. */
type Ask = (method: string, params: Readonly<Record<string, unknown>>) => Promise<unknown>

/**
 * See above: `machine.iommu`.
 *
 * @example
 * await using machine = new Machine({ memoryMiB, cpus, kernel, devices: [{ kind: 'disk', path }], iommu: { endpoints: 'all' } })
 * machine.iommu?.onEvent(event => event.type === 'fault' && faults.push(event))
 * await machine.start()
 * await machine.iommu?.injectFault({ endpoint: 'disk0', address: 0x1000 })
 * await machine.finished
 * expect(await machine.iommu?.findings()).toEqual([])
 */
export class IommuView {
  /** The same events as lines of JSON. */
  readonly trace: IommuTrace
  private last: IommuEnd | undefined

  constructor(private readonly ask: Ask) {
    // Before the start and at the end there is nobody to tell.
    this.trace = new IommuTrace(on => void ask('iommuTrace', { on }).catch(() => {}))
  }

  /** Endpoints, domains and counters at this moment; after the machine's end, at that one. */
  async state(): Promise<IommuViewState> {
    return this.last?.state ?? ((await this.ask('iommuState', {})) as IommuViewState)
  }

  /** All mappings of a domain, in the order of addresses; `BadInput` if there is no such domain. */
  async mappings(domain: number): Promise<readonly MappingState[]> {
    const all: MappingState[] = []
    for (let from = 0; ; from = (all.at(-1)?.end ?? 0) + 1) {
      const page = (await this.ask('iommuMappings', { domain, from, limit: PAGE })) as readonly MappingState[]
      all.push(...page)
      if (page.length < PAGE) return all
    }
  }

  /** The driver's breaches of the specification so far, each rule once; also after the machine's end. */
  async findings(): Promise<readonly IommuFinding[]> {
    return this.last?.findings ?? ((await this.ask('iommuFindings', {})) as readonly IommuFinding[])
  }

  /** Calls `handler` for each event from now on, until the result is called; before `start`, for all of them. */
  onEvent(handler: (event: IommuEvent) => void): () => void {
    let isOver = false
    const remove = this.trace.add(lines => {
      for (const line of lines.split('\n')) if (line !== '' && !isOver) deliver(handler, JSON.parse(line) as IommuEvent)
    })
    return () => {
      isOver = true
      remove()
    }
  }

  /** The device thread is about to end. */
  end(last: IommuEnd): void {
    this.last = last
    this.trace.end()
  }

  /** Reports a fault to the guest. */
  async injectFault(fault: InjectedFault): Promise<void> {
    await this.ask('iommuFault', { ...fault })
  }
}

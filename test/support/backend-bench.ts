/** A core whose two endpoints are hardware, and requests to it in short. */
import { MapFlag } from '../../src/iommu/mapping-flags.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import { answers, DISK, type IommuCore, type IommuCoreOptions, iommuCore, NET, nameOf } from './iommu-core.ts'
import { type BackendCall, ModelBackend } from './model-backend.ts'

export const RIGHTS = MapFlag.read | MapFlag.write
export const PAGE = 0x1000

export interface Bench extends IommuCore {
  /** Of "disk", and of "net"; the same one where they are of one group. */
  readonly one: ModelBackend
  readonly other: ModelBackend
  readonly warnings: readonly string[]
}

export function setUp(options: IommuCoreOptions = {}, isOneGroup = false): Bench {
  const one = new ModelBackend('group 1')
  const other = isOneGroup ? one : new ModelBackend('group 2')
  const warnings: string[] = []
  const core = iommuCore({ ...options, backends: [one, other], warn: warning => warnings.push(warning) })
  return { ...core, one, other, warnings }
}

/** "disk" and "net" in domain 1, which maps pages 5 and 7. */
export function shared(options: IommuCoreOptions = {}, isOneGroup = false): Bench {
  const bench = setUp(options, isOneGroup)
  attach(bench, DISK, 1)
  attach(bench, NET, 1)
  map(bench, 5)
  map(bench, 7)
  forget(bench)
  return bench
}

export function forget({ one, other }: Bench): void {
  one.calls.length = 0
  other.calls.length = 0
}

export function attach({ iommu }: Bench, endpoint: number, domain: number, bypass = false): readonly string[] {
  return answers(done => iommu.attach(endpoint, domain, bypass, done))
}

export function detach({ iommu }: Bench, endpoint: number, domain = 1): readonly string[] {
  return answers(done => iommu.detach(endpoint, domain, done))
}

/** Of one page, in domain 1. */
export function map({ iommu }: Bench, page: number): string {
  return nameOf(iommu.map(1, page * PAGE, page * PAGE + PAGE - 1, 0x3000, RIGHTS))
}

export function unmap({ iommu }: Bench, first: number, last = first): readonly string[] {
  return answers(done => iommu.unmap(1, first * PAGE, last * PAGE + PAGE - 1, done))
}

export function refuse(backend: ModelBackend, refused: BackendCall, outcome: Outcome = Outcome.noMemory): void {
  backend.answer = call => (call === refused ? outcome : Outcome.ok)
  backend.error = 'VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)'
}

export function pages({ content }: ModelBackend): readonly number[] {
  return content.map(({ start }) => start / PAGE)
}

/** What nothing may be left in of a request that failed. */
export function trace({ iommu, disk, net }: Bench): string {
  const { mapCalls: _maps, unmapCalls: _unmaps, ...counters } = iommu.state().counters
  const domains = [1, 2, 3].map(id => iommu.domain(id)?.mappings(0, 100))
  return JSON.stringify([iommu.state().domains, counters, domains, disk.domain?.id, net.domain?.id])
}

export const backendEvents = ({ events }: Bench) => events.filter(({ type }) => type === 'backend')
export const treatments = ({ iommu }: Bench) => iommu.state().endpoints.map(({ treatment }) => treatment)

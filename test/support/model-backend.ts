/**
 * Hardware that translates for endpoints, as a plain table, which says no when it is told to. It throws where the IOMMU
 * breaks the contract of `EndpointBackend`.
 */
import type { BackendState, BackendTarget, EndpointBackend } from '../../src/iommu/endpoint-backend.ts'
import { Outcome } from '../../src/iommu/outcome.ts'
import type { MappingState } from '../../src/iommu/state.ts'

export type BackendCall = 'move' | 'map' | 'unmap'

/** See above. */
export class ModelBackend implements EndpointBackend {
  treatment: BackendTarget['treatment'] = 'block'
  error: string | undefined
  /** What each call comes to; a move to `block` only tells. */
  answer: (call: BackendCall, target?: BackendTarget['treatment']) => Outcome = () => Outcome.ok
  /** A move that fails loses what was there. */
  isFragile = false
  /** The most mappings. */
  limit: number | null = null
  /** "move bypass", "map 0x1000-0x1fff", in their order. */
  readonly calls: string[] = []
  /** It blocks since a call failed. */
  isBroken = false
  private target: BackendTarget = { treatment: 'block' }
  private mappings: readonly MappingState[] = []
  private mapCalls = 0
  private unmapCalls = 0

  constructor(readonly name: string) {}

  /** By rising address. */
  get content(): readonly MappingState[] {
    return this.mappings
  }

  move(target: BackendTarget): Outcome {
    this.calls.push(`move ${target.treatment}`)
    const outcome = this.answer('move', target.treatment)
    if (target.treatment === 'block') {
      this.put(target)
      this.isBroken = outcome !== Outcome.ok
      return outcome
    }
    const before = this.target
    if (outcome === Outcome.ok && this.put(target)) {
      this.isBroken = false
      return Outcome.ok
    }
    // The domain before has its mappings still.
    this.put(this.isFragile ? { treatment: 'block' } : before)
    this.isBroken = this.treatment === 'block'
    return outcome === Outcome.ok ? Outcome.noMemory : outcome
  }

  map(start: number, end: number, phys: number, flags: number): Outcome {
    this.calls.push(`map ${range(start, end)}`)
    this.mapCalls++
    expect(this.treatment === 'translate', 'is asked to map while it does not translate')
    expect(!this.mappings.some(other => other.start <= end && start <= other.end), 'has a mapping there already')
    if (this.mappings.length === this.limit) return Outcome.noMemory
    const outcome = this.answer('map')
    if (outcome === Outcome.ok) this.mappings = sorted([...this.mappings, { start, end, phys, flags }])
    return outcome
  }

  unmap(start: number, end: number): Outcome {
    this.calls.push(`unmap ${range(start, end)}`)
    this.unmapCalls++
    expect(this.treatment === 'translate', 'is asked to unmap while it does not translate')
    const met = this.mappings.filter(other => other.start <= end && start <= other.end)
    expect(met.length > 0, 'has nothing in the range')
    expect(
      met.every(mapping => mapping.start >= start && mapping.end <= end),
      'has a mapping that reaches out of the range',
    )
    if (this.answer('unmap') !== Outcome.ok) {
      this.put({ treatment: 'block' })
      this.isBroken = true
      return Outcome.deviceError
    }
    this.mappings = this.mappings.filter(mapping => !met.includes(mapping))
    return Outcome.ok
  }

  state(): BackendState {
    const { name, treatment, limit, mapCalls, unmapCalls } = this
    const pinnedBytes = this.mappings.reduce((sum, { start, end }) => sum + end - start + 1, 0)
    return { name, treatment, mappings: this.mappings.length, limit, pinnedBytes, mapCalls, unmapCalls }
  }

  private put(target: BackendTarget): boolean {
    const mappings = target.treatment === 'translate' ? [...target.mappings] : []
    if (this.limit !== null && mappings.length > this.limit) return false
    this.target = target
    this.treatment = target.treatment
    this.mappings = mappings
    return true
  }
}

function sorted(mappings: readonly MappingState[]): readonly MappingState[] {
  return mappings.toSorted((a, b) => a.start - b.start)
}

function range(start: number, end: number): string {
  return `0x${start.toString(16)}-0x${end.toString(16)}`
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`the back end ${what}`)
}

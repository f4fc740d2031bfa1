/** An address space that endpoints are attached to. */
import type { BackendGroup } from './backend-group.ts'
import type { Endpoint } from './endpoint.ts'
import type { MappingTable } from './mapping-table.ts'
import type { DomainState, MappingState } from './state.ts'

/** Mappings that are looked up at a time. */
const PAGE = 256

/** See above. Lives from the first endpoint's attachment to the last one's. */
export class Domain {
  /** All mappings by rising address, as they are whenever one goes through them. */
  readonly all: Iterable<MappingState> = { [Symbol.iterator]: () => this.pages() }
  private readonly members: Endpoint[] = []
  private groups: readonly BackendGroup[] = []

  constructor(
    readonly id: number,
    /** Addresses pass unchanged, and there are no mappings. */
    readonly bypass: boolean,
    /** The IOMMU writes; everybody else asks. */
    readonly table: MappingTable,
  ) {}

  get endpoints(): readonly Endpoint[] {
    return this.members
  }

  /** Those whose back ends have these mappings, each once; another list after each change. */
  get followers(): readonly BackendGroup[] {
    return this.groups
  }

  get mappingCount(): number {
    return this.table.count
  }

  get mappedBytes(): number {
    return this.table.bytes
  }

  /** Up to `limit` mappings from the first that ends at `from` or behind, in the order of addresses. */
  mappings(from: number, limit: number): readonly MappingState[] {
    return this.table.search.mappings(from, limit)
  }

  /** For the IOMMU. */
  add(endpoint: Endpoint): void {
    this.members.push(endpoint)
  }

  /** For the IOMMU. */
  remove(endpoint: Endpoint): void {
    this.members.splice(this.members.indexOf(endpoint), 1)
  }

  /** For `Backends`. */
  follow(group: BackendGroup): void {
    this.groups = [...this.groups, group]
  }

  /** For `Backends`. */
  unfollow(group: BackendGroup): void {
    this.groups = this.groups.filter(other => other !== group)
  }

  state(): DomainState {
    return {
      id: this.id,
      bypass: this.bypass,
      endpoints: this.members.map(endpoint => endpoint.id),
      mappings: this.mappingCount,
      bytes: this.mappedBytes,
    }
  }

  private *pages(): Generator<MappingState> {
    for (let from = 0; ; ) {
      const page = this.mappings(from, PAGE)
      yield* page
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE) return
      from = last.end + 1
    }
  }
}

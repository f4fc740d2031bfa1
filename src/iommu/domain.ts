/** An address space that endpoints are attached to. */
import type { Endpoint } from './endpoint.ts'
import type { MappingTable } from './mapping-table.ts'
import type { DomainState, MappingState } from './state.ts'

/** See above. Lives from the first endpoint's attachment to the last one's. */
export class Domain {
  private readonly members: Endpoint[] = []

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

  state(): DomainState {
    return {
      id: this.id,
      bypass: this.bypass,
      endpoints: this.members.map(endpoint => endpoint.id),
      mappings: this.mappingCount,
      bytes: this.mappedBytes,
    }
  }
}

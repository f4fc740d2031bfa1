/** A domain's mappings for a thread other than their owner's. */
import { MappingLookup } from './mapping-lookup.ts'
import { sequenceOf, wordsOf } from './mapping-nodes.ts'

/** What a thread needs to read a table; can be sent to it. */
export interface SharedMappings {
  readonly shared: SharedArrayBuffer
  readonly directory: number
}

/**
 * See above. What it finds was so at one moment between call and return; it is up to the reader to learn when that is
 * no longer so.
 */
export class MappingReader {
  /** Has what the last `find` found. */
  readonly found: MappingLookup
  private readonly nodes: { words: Int32Array }

  constructor(private readonly mappings: SharedMappings) {
    this.nodes = { words: wordsOf(mappings.shared) }
    this.found = new MappingLookup(this.nodes, mappings.directory)
  }

  /** False: nothing is mapped at `iova`. */
  find(iova: number): boolean {
    for (;;) {
      const before = sequenceOf(this.nodes.words)
      if ((before & 1) !== 0) continue
      const { shared } = this.mappings
      if (shared.byteLength !== this.nodes.words.byteLength) this.nodes.words = wordsOf(shared)
      const isMapped = this.found.find(iova)
      // The load is after the lookup's: atomic accesses are not moved across others.
      if (sequenceOf(this.nodes.words) === before) return isMapped
    }
  }
}

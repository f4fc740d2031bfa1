/**
 * The mappings of one domain by address: sorted chunks, so that a million of them can come and go in any order.
 * Mappings do not overlap.
 */
import type { Mapping } from './mapping.ts'

/** A chunk that grows beyond is cut in two. */
const CHUNK = 512

/** See above. */
export class MappingIndex {
  private readonly chunks: Mapping[][] = []
  private count = 0

  get size(): number {
    return this.count
  }

  add(mapping: Mapping): void {
    this.count++
    const index = this.chunkOf(mapping.start)
    const chunk = this.chunks[index]
    if (chunk === undefined) {
      this.chunks.push([mapping])
      return
    }
    chunk.splice(positionOf(chunk, mapping.start), 0, mapping)
    if (chunk.length > CHUNK) this.chunks.splice(index + 1, 0, chunk.splice(CHUNK >> 1))
  }

  /** The last mapping that starts at `address` or before. */
  below(address: number): Mapping | undefined {
    const chunk = this.chunks[this.chunkOf(address)]
    return chunk?.[positionOf(chunk, address) - 1]
  }

  /** The first mapping that starts behind `address`. */
  above(address: number): Mapping | undefined {
    const index = this.chunkOf(address)
    const chunk = this.chunks[index]
    return chunk?.[positionOf(chunk, address)] ?? this.chunks[index + 1]?.[0]
  }

  /** The mapping of `address`. */
  at(address: number): Mapping | undefined {
    const mapping = this.below(address)
    return mapping !== undefined && mapping.end >= address ? mapping : undefined
  }

  /** Removes all that have an address in [start, end], and returns them. */
  take(start: number, end: number): readonly Mapping[] {
    const taken: Mapping[] = []
    // One that began before counts from its own start.
    const from = this.at(start)?.start ?? start
    for (;;) {
      const index = this.indexAtOrAfter(from)
      const chunk = this.chunks[index]
      if (chunk === undefined) break
      const low = lowerBound(chunk, from)
      const high = positionOf(chunk, end)
      if (high <= low) break
      taken.push(...chunk.splice(low, high - low))
      if (chunk.length === 0) this.chunks.splice(index, 1)
    }
    this.count -= taken.length
    return taken
  }

  /** Removes all, and returns them. */
  clear(): readonly Mapping[] {
    const all = this.all()
    this.chunks.length = 0
    this.count = 0
    return all
  }

  /** By rising address. */
  all(): readonly Mapping[] {
    return this.chunks.flat()
  }

  /** Index of the last chunk that begins at `address` or before; the first one if there is none. */
  private chunkOf(address: number): number {
    let low = 0
    let high = this.chunks.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.chunks[middle]?.[0]?.start ?? 0) <= address) low = middle + 1
      else high = middle
    }
    return Math.max(0, low - 1)
  }

  /** Index of the chunk with the first mapping that starts at `address` or behind. */
  private indexAtOrAfter(address: number): number {
    const index = this.chunkOf(address)
    const chunk = this.chunks[index]
    return chunk !== undefined && (chunk.at(-1)?.start ?? 0) < address ? index + 1 : index
  }
}

/** Position of the first mapping that starts behind `address`. */
function positionOf(chunk: readonly Mapping[], address: number): number {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((chunk[middle]?.start ?? 0) <= address) low = middle + 1
    else high = middle
  }
  return low
}

/** Position of the first mapping that starts at `address` or behind. */
function lowerBound(chunk: readonly Mapping[], address: number): number {
  const position = positionOf(chunk, address)
  return chunk[position - 1]?.start === address ? position - 1 : position
}

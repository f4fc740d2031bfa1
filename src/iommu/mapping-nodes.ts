/**
 * Where the mappings of all domains are kept: nodes of radix trees in shared memory, so that other threads can read
 * them. One thread writes.
 *
 *   word 0      sequence number: odd while the owner writes
 *   word 16     directories, one a domain: 256 entries of 2^32 pages each, which makes 2^40 pages or 52 bits
 *   behind      nodes: first page (bits 0-31), shift | count << 8, and 16 entries of 2^shift pages each
 *
 * What an entry is: mapping-entry.ts.
 *
 * The memory grows in place, up to what the limit on mappings asks for; nodes that are given back are used again.
 */
const SEQUENCE = 0
const DIRECTORIES = 16
const DIRECTORY_WORDS = 2 * 256
/** Far more than a machine has endpoints, and a domain has at least one. */
const MAX_DIRECTORIES = 1024
const NODES = DIRECTORIES + MAX_DIRECTORIES * DIRECTORY_WORDS
const HEADER_WORDS = 2
export const NODE_ENTRIES = HEADER_WORDS
const NODE_WORDS = HEADER_WORDS + 2 * 16
const WORD_SIZE = 4
/** Nodes that are there however few mappings are allowed. */
const SPARE_NODES = 4096
/** A power of two that is enough for the directories and some nodes. */
const GROWTH = 4 * 2 ** 20
/** Where word indexes get slow. */
const MAX_BYTES = 2 ** 31

/** See above. */
export class MappingNodes {
  readonly shared: SharedArrayBuffer
  /** Replaced when memory grows. */
  words: Int32Array
  private readonly capacity: number
  private used = 0
  /** Nodes from here on were never used. */
  private fresh = NODES
  /** The first of the list of nodes that were given back, linked by their first words. */
  private free = 0
  private readonly freeDirectories: number[] = []
  private directories = 0
  private sequence = 0

  /** Room for `mappings` mappings of one page wherever they are, and of more pages in all likelihood. */
  constructor(mappings: number) {
    const nodes = 2 * mappings + SPARE_NODES
    const bytes = Math.min(MAX_BYTES, (NODES + nodes * NODE_WORDS) * WORD_SIZE)
    const most = Math.ceil(bytes / GROWTH) * GROWTH
    this.capacity = Math.floor((bytes / WORD_SIZE - NODES) / NODE_WORDS)
    // It grows, since the engine takes its whole size for memory in use, and then collects garbage too seldom.
    this.shared = new SharedArrayBuffer(GROWTH, { maxByteLength: most })
    this.words = wordsOf(this.shared)
  }

  /** Bytes in use. */
  get bytes(): number {
    return (this.used * NODE_WORDS + this.directories * DIRECTORY_WORDS) * WORD_SIZE
  }

  /** Makes room for `count` more nodes, so that `words` stays until they are taken; false when they are too many. */
  prepare(count: number): boolean {
    if (this.used + count > this.capacity) return false
    const { shared } = this
    const isShort = this.fresh + count * NODE_WORDS > this.words.length
    if (isShort && shared.byteLength < shared.maxByteLength) this.grow()
    return true
  }

  /** An empty directory; undefined when there are no more. */
  takeDirectory(): number | undefined {
    const directory = this.freeDirectories.pop() ?? DIRECTORIES + this.directories * DIRECTORY_WORDS
    if (this.directories === MAX_DIRECTORIES) return undefined
    this.directories++
    return directory
  }

  /** The directory is empty. */
  releaseDirectory(directory: number): void {
    this.directories--
    this.freeDirectories.push(directory)
  }

  /** An empty node, for the pages around `page`; there has to be room (`prepare`). */
  take(page: number, shift: number): number {
    const { words } = this
    let node = this.free
    if (node === 0) {
      node = this.fresh
      this.fresh += NODE_WORDS
    } else {
      this.free = words[node] as number
    }
    this.used++
    // Twice, since a shift by 32 is one by 0.
    words[node] = (((page >>> shift) >>> 4) << 4) << shift
    words[node + 1] = shift
    return node
  }

  /** All entries of the node are empty again. */
  release(node: number): void {
    this.words[node] = this.free
    this.free = node
    this.used--
  }

  /** Readers notice that they may have seen half of a change that is made before `end`. */
  begin(): void {
    this.sequence = (this.sequence + 1) | 0
    Atomics.store(this.words, SEQUENCE, this.sequence)
  }

  end(): void {
    this.sequence = (this.sequence + 1) | 0
    Atomics.store(this.words, SEQUENCE, this.sequence)
  }

  private grow(): void {
    const { shared } = this
    const more = Math.max(GROWTH, shared.byteLength >>> 2) & -GROWTH
    shared.grow(Math.min(shared.maxByteLength, shared.byteLength + more))
    this.words = wordsOf(shared)
  }
}

/** The words that there are now. A view whose length follows the memory's would make each access slower. */
export function wordsOf(shared: SharedArrayBuffer): Int32Array {
  return new Int32Array(shared, 0, shared.byteLength / WORD_SIZE)
}

/** For readers: changes with every change of the nodes, and is odd while one is being made. */
export function sequenceOf(words: Int32Array): number {
  return Atomics.load(words, SEQUENCE)
}

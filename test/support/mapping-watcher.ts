/**
 * A thread that looks an address up again and again while its owner maps and unmaps it, and says what it has seen: the
 * guest-physical addresses, how often nothing was mapped, and how often something was.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { MappingReader, type SharedMappings } from '../../src/iommu/mapping-reader.ts'

export interface MappingWatch {
  readonly mappings: SharedMappings
  readonly address: number
  /** Int32: 1 once the thread reads, and 1 in the second word when it is to stop. */
  readonly flags: SharedArrayBuffer
}

export interface Sightings {
  readonly physes: readonly number[]
  readonly misses: number
  readonly hits: number
}

const { mappings, address, flags } = workerData as MappingWatch
const reader = new MappingReader(mappings)
const words = new Int32Array(flags)
const physes = new Set<number>()
let hits = 0
let misses = 0
while (Atomics.load(words, 1) === 0) {
  if (reader.find(address)) {
    physes.add(reader.found.phys)
    hits++
  } else misses++
  if (hits > 0 && misses > 0) {
    Atomics.store(words, 0, 1)
    Atomics.notify(words, 0)
  }
}
const sightings: Sightings = { physes: [...physes], misses, hits }
parentPort?.postMessage(sightings)

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { MappingNodes } from '../../../src/iommu/mapping-nodes.ts'
import { MappingReader } from '../../../src/iommu/mapping-reader.ts'
import { MappingTable } from '../../../src/iommu/mapping-table.ts'
import type { MappingWatch, Sightings } from '../../support/mapping-watcher.ts'

const ADDRESS = 0x1_2345_6000
/** Enough to see half of a change a few times, if that were possible. */
const ROUNDS = 50_000
const RIGHTS = MapFlag.read | MapFlag.write

function table(): MappingTable {
  const nodes = new MappingNodes(2 ** 20)
  return new MappingTable(nodes, nodes.takeDirectory() ?? 0)
}

/**
 * Maps the address to one place after the other, together with neighbours that make nodes come and go and go to other
 * places, until the watcher has seen enough; returns the places.
 */
function shuffle(mappings: MappingTable, words: Int32Array): readonly number[] {
  const places = [0x5000, 0x1_0000_7000, 0xff_ffff_f000]
  for (let round = 0; Atomics.load(words, 0) === 0 || round < ROUNDS; round++) {
    const place = places[round % places.length] as number
    const spread = 4096 * 16 ** (round % 5)
    mappings.insert(ADDRESS, ADDRESS + 4095, place, RIGHTS)
    mappings.insert(ADDRESS + spread, ADDRESS + spread + 4095, 0x9000, RIGHTS)
    mappings.insert(ADDRESS - 2 * spread, ADDRESS - spread - 1, 0xb000, RIGHTS)
    mappings.remove(0, 2 ** 44 - 1)
  }
  return places
}

/** Pages 4 GiB apart take a node each: 20,000 are more than there is room for at first. */
function mapFarApart(mappings: MappingTable, count: number): void {
  for (let i = 0; i < count; i++) mappings.insert(i * 2 ** 32, i * 2 ** 32 + 4095, i * 4096, RIGHTS)
}

describe('MappingReader', () => {
  it('finds in another thread what is mapped, and nothing else, while the owner changes it', async () => {
    const mappings = table()
    const flags = new SharedArrayBuffer(8)
    const words = new Int32Array(flags)
    const workerData: MappingWatch = { mappings: mappings.shared, address: ADDRESS + 8, flags }
    const worker = new Worker(new URL('../../support/mapping-watcher.ts', import.meta.url), { workerData })
    const message = once(worker, 'message')
    await once(worker, 'online')
    const places = shuffle(mappings, words)
    Atomics.store(words, 1, 1)
    const [sightings] = (await message) as [Sightings]
    await worker.terminate()
    expect(places.map(place => place + 8)).toEqual(expect.arrayContaining([...sightings.physes]))
    expect(sightings.hits).toBeGreaterThan(0)
    expect(sightings.misses).toBeGreaterThan(0)
  })

  it('sees mappings in memory that came after it', () => {
    const mappings = table()
    const reader = new MappingReader(mappings.shared)
    mapFarApart(mappings, 20_000)
    expect(reader.find(19_999 * 2 ** 32 + 8)).toBe(true)
    expect([reader.found.phys, reader.found.room]).toEqual([19_999 * 4096 + 8, 4088])
    expect(reader.find(19_999 * 2 ** 32 + 4096)).toBe(false)
  })
})

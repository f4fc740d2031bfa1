import { describe, expect, it } from 'vitest'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { MappingNodes } from '../../../src/iommu/mapping-nodes.ts'
import { Insertion, MappingTable } from '../../../src/iommu/mapping-table.ts'
import { MappingComparison } from '../../support/mapping-model.ts'

const RIGHTS = MapFlag.read | MapFlag.write
const SEEDS = Array.from({ length: 40 }, (_, i) => i + 1)
const DIRECTORY_BYTES = 2048

function table(mappings = 1000): { readonly nodes: MappingNodes; readonly table: MappingTable } {
  const nodes = new MappingNodes(mappings)
  return { nodes, table: new MappingTable(nodes, nodes.takeDirectory() ?? 0) }
}

describe('MappingTable', () => {
  it.each(SEEDS)('does what a list of intervals does (seed %d)', seed => {
    const comparison = new MappingComparison(seed)
    comparison.run(500)
    comparison.empty()
    expect(comparison.differences).toEqual([])
    expect([comparison.table.count, comparison.table.bytes]).toEqual([0, 0])
    expect(comparison.nodes.bytes).toBe(DIRECTORY_BYTES)
  })

  it.each(SEEDS.slice(0, 10))('gives all memory back when it is cleared (seed %d)', seed => {
    const comparison = new MappingComparison(seed)
    comparison.run(300)
    comparison.table.clear()
    expect([comparison.table.count, comparison.table.bytes]).toEqual([0, 0])
    expect(comparison.nodes.bytes).toBe(DIRECTORY_BYTES)
  })

  it.each([
    ['4 KiB', 0x1000, 2],
    ['2 MiB', 0x20_0000, 2],
    ['1 GiB', 0x4000_0000, 2],
    ['all of 52 bits', 2 ** 52, 0],
  ])('keeps a mapping of %s in few nodes', (_, size, most) => {
    const { table: mappings, nodes } = table()
    const empty = nodes.bytes
    expect(mappings.insert(0, size - 1, 0, RIGHTS)).toBe(Insertion.ok)
    expect((nodes.bytes - empty) / 136).toBeLessThanOrEqual(most)
    expect(mappings.search.mappings(0, 9)).toEqual([{ start: 0, end: size - 1, phys: 0, flags: RIGHTS }])
  })

  it('takes an odd mapping of nearly all addresses in bounded work', () => {
    const { table: mappings, nodes } = table()
    const [start, end, phys] = [0x1000, 2 ** 52 - 0x2001, 0x2000]
    const empty = nodes.bytes
    expect(mappings.insert(start, end, phys, RIGHTS)).toBe(Insertion.ok)
    expect((nodes.bytes - empty) / 136).toBeLessThanOrEqual(48)
    expect(mappings.search.mappings(2 ** 51, 2)).toEqual([{ start, end, phys, flags: RIGHTS }])
    expect(mappings.lookup.find(2 ** 51 + 5)).toBe(true)
    expect(mappings.lookup.phys).toBe(2 ** 51 + 5 + 0x1000)
    expect(mappings.remove(0, 2 ** 52 - 1)).toBe(1)
    expect(nodes.bytes).toBe(empty)
  })

  it.each([1, 15, 16, 300, 2 ** 16, 2 ** 20, 2 ** 30, 2 ** 36])(
    'is as small as before when a page %d pages further on was mapped and unmapped',
    distance => {
      const { table: mappings, nodes } = table()
      const [start, other] = [0x1_2345_6000, 0x1_2345_6000 + distance * 4096]
      mappings.insert(start, start + 4095, 0x5000, RIGHTS)
      const { bytes } = nodes
      mappings.insert(other, other + 4095, 0x7000, RIGHTS)
      expect(mappings.remove(other, other + 4095)).toBe(1)
      expect(nodes.bytes).toBe(bytes)
      expect(mappings.lookup.find(start + 8)).toBe(true)
      expect(mappings.lookup.phys).toBe(0x5008)
    },
  )

  it('keeps mappings apart that touch and go on in memory', () => {
    const { table: mappings } = table()
    mappings.insert(0x1000, 0x1fff, 0x1000, RIGHTS)
    mappings.insert(0x2000, 0x2fff, 0x2000, RIGHTS)
    expect(mappings.remove(0x1000, 0x2fff - 1)).toBe(-1)
    expect(mappings.remove(0x2000, 0x2fff)).toBe(1)
    expect(mappings.search.mappings(0, 9)).toEqual([{ start: 0x1000, end: 0x1fff, phys: 0x1000, flags: RIGHTS }])
  })

  it('says that it is full, and has changed nothing, when there are no more nodes', () => {
    const { table: mappings, nodes } = table(0)
    // Pages 4 GiB apart: each takes a node.
    const results = Array.from({ length: 5000 }, (_, i) =>
      mappings.insert(i * 2 ** 32, i * 2 ** 32 + 0xfff, 0x1000, RIGHTS),
    )
    const taken = results.indexOf(Insertion.full)
    expect(taken).toBeGreaterThan(3000)
    expect(new Set(results.slice(taken))).toEqual(new Set([Insertion.full]))
    expect([mappings.count, mappings.bytes]).toEqual([taken, taken * 0x1000])
    expect(mappings.search.mappings(0, 5000)).toHaveLength(taken)
    mappings.clear()
    expect(nodes.bytes).toBe(DIRECTORY_BYTES)
  })

  it('grows to a million mappings of 4 KiB in less than 24 MiB', { timeout: 60_000 }, () => {
    const { table: mappings, nodes } = table(2 ** 20)
    const results = new Set(
      Array.from({ length: 2 ** 20 }, (_, i) => mappings.insert(i * 4096, i * 4096 + 4095, i * 8192, RIGHTS)),
    )
    expect(results).toEqual(new Set([Insertion.ok]))
    expect(nodes.bytes).toBeLessThan(24 * 2 ** 20)
    expect(mappings.lookup.find(2 ** 31)).toBe(true)
    expect(mappings.lookup.phys).toBe(2 ** 32)
    expect(mappings.remove(0, 2 ** 32 - 1)).toBe(2 ** 20)
    expect(nodes.bytes).toBe(DIRECTORY_BYTES)
  })

  it('shares the nodes with other tables, and nothing else', () => {
    const { table: one, nodes } = table()
    const other = new MappingTable(nodes, nodes.takeDirectory() ?? 0)
    one.insert(0x1000, 0x1fff, 0x5000, RIGHTS)
    expect(other.lookup.find(0x1000)).toBe(false)
    other.insert(0x1000, 0x1fff, 0x7000, RIGHTS)
    one.clear()
    expect(other.lookup.find(0x1008)).toBe(true)
    expect(other.lookup.phys).toBe(0x7008)
  })
})

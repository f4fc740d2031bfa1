/**
 * Mappings as a plain list, and a comparison of it with a MappingTable over random requests: sizes from a page to 2^33
 * pages, near each other and far apart, at the edges of nodes and of directory entries.
 */
import { MappingNodes } from '../../src/iommu/mapping-nodes.ts'
import { Insertion, MappingTable } from '../../src/iommu/mapping-table.ts'
import type { MappingState } from '../../src/iommu/state.ts'
import { Random } from './random.ts'

const PAGE_SIZE = 4096
const PAGES = 2 ** 40
const SMALL = [1, 1, 1, 2, 3, 16, 17, 100, 256, 512]
const SIZES = [...SMALL, 4096, 70_000, 2 ** 18, 2 ** 32, 2 ** 33 + 5]
const HIGH_PARTS = [0, 0, 0, 1, 15, 200, 255]
const LOW_PARTS = [0, 0, 2 ** 16 - 40, 2 ** 28 - 100, 2 ** 32 - 300]
const SPREADS = [64, 300, 5000, 2 ** 20, 2 ** 31]

/** Only what has to be right, in the simplest way. */
class MappingModel {
  list: readonly MappingState[] = []

  touched(start: number, end: number): readonly MappingState[] {
    return this.list.filter(mapping => mapping.start <= end && mapping.end >= start)
  }

  insert(mapping: MappingState): number {
    if (this.touched(mapping.start, mapping.end).length > 0) return Insertion.overlap
    this.list = [...this.list, mapping].sort((a, b) => a.start - b.start)
    return Insertion.ok
  }

  remove(start: number, end: number): number {
    const touched = this.touched(start, end)
    if (touched.some(mapping => mapping.start < start || mapping.end > end)) return -1
    this.list = this.list.filter(mapping => !touched.includes(mapping))
    return touched.length
  }

  get bytes(): number {
    return this.list.reduce((sum, { start, end }) => sum + (end + 1 - start), 0)
  }
}

/** A table and what it should be. */
export class MappingComparison {
  /** In words, where the table does something else than the model. */
  readonly differences: string[] = []
  readonly nodes = new MappingNodes(4096)
  readonly table = new MappingTable(this.nodes, this.nodes.takeDirectory() ?? 0)
  private readonly model = new MappingModel()
  private readonly random: Random

  constructor(seed: number) {
    this.random = new Random(seed)
  }

  /** Does `count` random things. */
  run(count: number): void {
    const { random } = this
    const acts = [this.insert, this.insert, this.insert, this.remove, this.remove, this.find, this.list]
    for (let i = 0; i < count; i++) this.pick(acts, random).call(this)
  }

  /** Removes the mappings that are left, one by one in random order. */
  empty(): void {
    const { random, model } = this
    while (model.list.length > 0) {
      const { start, end } = this.pick(model.list, random)
      this.compare(`remove ${start}-${end}`, this.table.remove(start, end), model.remove(start, end))
    }
  }

  private insert(): void {
    const { random, model, table } = this
    const page = this.page()
    const count = Math.min(this.size(), PAGES - page)
    const physPage = random.below(2) === 0 ? random.below(2 ** 30) : PAGES - count - random.below(1000)
    const mapping = {
      start: page * PAGE_SIZE,
      end: (page + count) * PAGE_SIZE - 1,
      phys: physPage * PAGE_SIZE,
      flags: random.below(8),
    }
    const { start, end, phys, flags } = mapping
    this.compare(`insert ${start}-${end}`, table.insert(start, end, phys, flags), model.insert(mapping))
  }

  private remove(): void {
    const { random, model, table } = this
    let start = this.page() * PAGE_SIZE + (random.below(5) === 0 ? 1000 : 0)
    let end = start + this.size() * PAGE_SIZE - 1 + (random.below(5) === 0 ? 1000 : 0)
    if (model.list.length > 0 && random.below(3) > 0) {
      const mapping = this.pick(model.list, random)
      start = Math.max(0, mapping.start - random.below(2) * PAGE_SIZE * random.below(3))
      end = mapping.end + random.below(2) * PAGE_SIZE * random.below(50) - (random.below(8) === 0 ? 2048 : 0)
    }
    this.compare(`remove ${start}-${end}`, table.remove(start, end), model.remove(start, end))
  }

  private find(): void {
    const { random, model, table } = this
    const near = model.list.length > 0 ? this.pick(model.list, random).start : 0
    const address = Math.max(0, near + (random.below(3) - 1) * PAGE_SIZE * random.below(600) + random.below(PAGE_SIZE))
    const [mapping] = model.touched(address, address)
    const { lookup } = table
    const found = lookup.find(address)
      ? { phys: lookup.phys, flags: lookup.bits & 7, ends: address + lookup.room - 1 <= (mapping?.end ?? 0) }
      : undefined
    const wanted = mapping && { phys: mapping.phys + address - mapping.start, flags: mapping.flags, ends: true }
    this.compare(`find ${address}`, found, wanted)
    this.compare(`overlaps ${address}`, table.search.overlaps(address, address), mapping !== undefined)
  }

  private list(): void {
    const { random, model, table } = this
    const from = random.below(2) === 0 ? 0 : this.page() * PAGE_SIZE
    const limit = random.below(50)
    const wanted = model.list.filter(({ end }) => end >= from).slice(0, limit)
    this.compare(`${limit} mappings from ${from}`, table.search.mappings(from, limit), wanted)
    this.compare('count and bytes', [table.count, table.bytes], [model.list.length, model.bytes])
  }

  private compare(what: string, got: unknown, wanted: unknown): void {
    const [gotText, wantedText] = [JSON.stringify(got), JSON.stringify(wanted)]
    if (gotText !== wantedText) this.differences.push(`${what}: ${gotText}, not ${wantedText}`)
  }

  private page(): number {
    const { random } = this
    const low = this.pick(LOW_PARTS, random) + random.below(this.pick(SPREADS, random))
    return this.pick(HIGH_PARTS, random) * 2 ** 32 + Math.min(2 ** 32 - 1, low)
  }

  private size(): number {
    const { random } = this
    return this.pick(random.below(4) === 0 ? SIZES : SMALL, random)
  }

  private pick<T>(values: readonly T[], random: Random): T {
    return values[random.below(values.length)] as T
  }
}

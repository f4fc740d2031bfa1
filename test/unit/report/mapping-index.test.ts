import { describe, expect, it } from 'vitest'
import type { Mapping } from '../../../src/report/mapping.ts'
import { MappingIndex } from '../../../src/report/mapping-index.ts'
import { Random } from '../../support/random.ts'
import { repeat } from '../../support/repeat.ts'

const PAGE = 4096

function mapping(start: number, size: number): Mapping {
  const life = { bornMs: 0, diedMs: undefined, endedBy: undefined }
  return { domain: 1, start, end: start + size - 1, phys: 0, flags: 3, seq: 1, ...life }
}

/** The same by looking at each of them. */
class Model {
  private all: Mapping[] = []

  add(added: Mapping): void {
    this.all = [...this.all, added].sort((a, b) => a.start - b.start)
  }

  at(address: number): Mapping | undefined {
    return this.all.find(({ start, end }) => start <= address && address <= end)
  }

  below(address: number): Mapping | undefined {
    return this.all.findLast(({ start }) => start <= address)
  }

  above(address: number): Mapping | undefined {
    return this.all.find(({ start }) => start > address)
  }

  take(from: number, to: number): readonly Mapping[] {
    const isIn = ({ start, end }: Mapping) => start <= to && end >= from
    const taken = this.all.filter(isIn)
    this.all = this.all.filter(each => !isIn(each))
    return taken
  }

  get list(): readonly Mapping[] {
    return this.all
  }
}

describe('MappingIndex', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('does as a plain list does, over thousands of changes (seed %i)', seed => {
    const random = new Random(seed)
    const index = new MappingIndex()
    const model = new Model()
    const slots = 1 << (6 + seed)
    repeat(3000, () => {
      const start = random.below(slots) * 4 * PAGE
      const size = (1 + random.below(4)) * PAGE
      const free = model.take(start, start + size - 1)
      expect(index.take(start, start + size - 1)).toEqual(free)
      const added = random.below(3) > 0 ? [mapping(start, size)] : []
      for (const each of added) model.add(each)
      for (const each of added) index.add(each)
      const address = random.below(slots * 4) * PAGE + random.below(PAGE)
      expect(index.at(address)).toBe(model.at(address))
      expect(index.below(address)).toBe(model.below(address))
      expect(index.above(address)).toBe(model.above(address))
    })
    expect(index.all()).toEqual(model.list)
    expect(index.size).toBe(model.list.length)
  })

  it('takes all of a wide range, and one that began before it', () => {
    const index = new MappingIndex()
    const all = Array.from({ length: 5000 }, (_, each) => mapping(each * 2 * PAGE, 2 * PAGE))
    for (const each of all.toReversed()) index.add(each)
    expect(index.take(PAGE, 2 ** 64)).toEqual(all)
    expect(index.size).toBe(0)
  })

  it('is empty after it was cleared', () => {
    const index = new MappingIndex()
    index.add(mapping(0, PAGE))
    expect(index.clear()).toHaveLength(1)
    expect([index.size, index.at(0), index.below(PAGE), index.above(0)]).toEqual([0, undefined, undefined, undefined])
  })
})

import { describe, expect, it } from 'vitest'
import { Outcome } from '../../../src/iommu/outcome.ts'
import {
  attach,
  backendEvents,
  forget,
  map,
  PAGE,
  pages,
  RIGHTS,
  refuse,
  setUp,
  shared,
  trace,
  treatments,
  unmap,
} from '../../support/backend-bench.ts'
import { busyUser, DISK, finish, NET } from '../../support/iommu-core.ts'

describe('Iommu.map, with back ends', () => {
  it('reaches each back end of the domain exactly once', () => {
    const bench = shared()
    expect(map(bench, 9)).toBe('ok')
    const calls = ['map 0x9000-0x9fff']
    expect([bench.one.calls, bench.other.calls]).toEqual([calls, calls])
    expect(bench.one.content.at(-1)).toEqual({ start: 0x9000, end: 0x9fff, phys: 0x3000, flags: RIGHTS })
  })

  it('reaches a back end of two endpoints once', () => {
    const bench = shared({}, true)
    map(bench, 9)
    expect(bench.one.calls).toEqual(['map 0x9000-0x9fff'])
  })

  it('reaches no back end of another domain', () => {
    const bench = setUp()
    attach(bench, DISK, 1)
    attach(bench, NET, 2)
    map(bench, 9)
    expect([pages(bench.one), pages(bench.other)]).toEqual([[9], []])
  })

  it.each([
    ['overlaps', 5, 'invalid'],
    ['is beyond the limit', 9, 'noMemory'],
    ['is beyond the input range', 2 ** 40, 'range'],
  ])('asks no back end about a mapping that %s', (_, page, expected) => {
    const bench = shared({ limits: { domain: 2, total: 2 } })
    expect([map(bench, page), bench.one.calls]).toEqual([expected, []])
  })

  it.each([
    ['one', Outcome.noMemory, 'noMemory'],
    ['one', Outcome.deviceError, 'deviceError'],
    ['other', Outcome.noMemory, 'noMemory'],
    ['other', Outcome.unsupported, 'unsupported'],
  ] as const)('leaves no trace of a mapping that back end "%s" refuses with %d', (which, outcome, expected) => {
    const bench = shared()
    const before = trace(bench)
    const changes: number[] = []
    bench.disk.space.onChange(start => changes.push(start))
    refuse(bench[which], 'map', outcome)
    expect(map(bench, 9)).toBe(expected)
    expect([trace(bench), changes]).toEqual([before, []])
    expect([pages(bench.one), pages(bench.other)]).toEqual([
      [5, 7],
      [5, 7],
    ])
  })

  it('does not ask further back ends when one has refused', () => {
    const bench = shared()
    refuse(bench.one, 'map')
    map(bench, 9)
    expect(bench.other.calls).toEqual([])
  })

  it('warns once, and traces each time', () => {
    const bench = shared()
    refuse(bench.other, 'map')
    map(bench, 9)
    map(bench, 9)
    expect(bench.warnings).toEqual([
      "group 2: the host refuses a mapping, and the guest's drivers may not notice: VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)",
    ])
    const error = 'VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)'
    const event = { type: 'backend', name: 'group 2', refused: 'MAP', outcome: 'noMemory', error }
    expect(backendEvents(bench)).toEqual([event, event])
  })

  it('blocks a back end that does not even take a mapping back', () => {
    const bench = shared()
    refuse(bench.other, 'map')
    refuse(bench.one, 'unmap')
    expect(map(bench, 9)).toBe('noMemory')
    expect([bench.one.treatment, pages(bench.other)]).toEqual(['block', [5, 7]])
    bench.other.answer = () => Outcome.ok
    expect([map(bench, 9), pages(bench.other)]).toEqual(['ok', [5, 7, 9]])
  })

  it('tells a full back end from a full domain', () => {
    const bench = shared({ limits: { domain: 3, total: 9 } })
    refuse(bench.one, 'map')
    map(bench, 9)
    expect(bench.iommu.isFull(1)).toBe(false)
    bench.one.answer = () => Outcome.ok
    map(bench, 9)
    expect([bench.iommu.isFull(1), bench.iommu.isFull(2)]).toEqual([true, false])
  })
})

describe('Iommu.unmap, with back ends', () => {
  it('reaches each back end once, for however many mappings', () => {
    const bench = shared()
    expect(unmap(bench, 0, 20)).toEqual(['ok'])
    const calls = ['unmap 0x0-0x14fff']
    expect([bench.one.calls, bench.other.calls]).toEqual([calls, calls])
    expect([pages(bench.one), pages(bench.other)]).toEqual([[], []])
  })

  it.each([
    ['nothing', 11, 'ok'],
    ['half of a mapping', 9, 'range'],
  ])('asks no back end about %s', (_, page, expected) => {
    const bench = shared()
    bench.iommu.map(1, 8 * PAGE, 10 * PAGE - 1, 0, RIGHTS)
    forget(bench)
    expect([unmap(bench, page), bench.one.calls]).toEqual([[expected], []])
  })

  it('names no address behind the input range to a back end', () => {
    const bench = shared()
    bench.iommu.unmap(1, 0, 2 ** 64, () => {})
    expect(bench.one.calls).toEqual(['unmap 0x0-0xffffffffffff'])
  })

  it('blocks a back end that refuses, and goes on with the others', () => {
    const bench = shared()
    refuse(bench.one, 'unmap')
    expect(unmap(bench, 5)).toEqual(['deviceError'])
    expect([bench.one.treatment, pages(bench.other)]).toEqual(['block', [7]])
    expect(treatments(bench)).toEqual(['block', 'translate'])
    expect(bench.iommu.domain(1)?.mappingCount).toBe(1)
    expect(bench.warnings).toEqual([expect.stringMatching(/^group 1: .*and its devices reach nothing: VFIO/)])
    expect(backendEvents(bench)).toMatchObject([{ name: 'group 1', refused: 'UNMAP', outcome: 'deviceError' }])
  })

  it('asks a back end that is blocked for nothing more, until its endpoint is attached again', () => {
    const bench = shared()
    refuse(bench.one, 'unmap')
    unmap(bench, 5)
    forget(bench)
    expect([map(bench, 9), unmap(bench, 9), bench.one.calls]).toEqual(['ok', ['ok'], []])
    expect([attach(bench, DISK, 1), pages(bench.one)]).toEqual([['ok'], [7]])
  })

  it('blocks a back end that refuses, and does not do so itself', () => {
    const bench = shared()
    bench.one.unmap = () => Outcome.deviceError
    expect([unmap(bench, 5), bench.one.calls, bench.one.treatment]).toEqual([['deviceError'], ['move block'], 'block'])
  })

  it('asks nothing of hardware that was taken away', () => {
    const bench = shared()
    bench.one.treatment = 'block'
    expect([map(bench, 9), unmap(bench, 5), bench.one.calls]).toEqual(['ok', ['ok'], []])
  })

  it('answers a failure when no device uses the mapping any more', () => {
    const bench = shared()
    const user = busyUser(bench.net, 5 * PAGE, 6 * PAGE - 1)
    refuse(bench.one, 'unmap')
    const finished = unmap(bench, 5)
    expect([finished, pages(bench.other)]).toEqual([[], [7]])
    finish(user, bench.net)
    expect(finished).toEqual(['deviceError'])
  })
})

import { describe, expect, it } from 'vitest'
import { Outcome } from '../../../src/iommu/outcome.ts'
import {
  attach,
  backendEvents,
  detach,
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
import { DISK, iommuCore, NET } from '../../support/iommu-core.ts'
import { ModelBackend } from '../../support/model-backend.ts'

describe('Iommu.addEndpoint', () => {
  it.each([
    [true, 'bypass', ['move bypass']],
    [false, 'block', []],
  ])('puts the back end where endpoints in no domain are, with bypass %s', (bypass, treatment, calls) => {
    const { one } = setUp({ bypass })
    expect([one.treatment, one.calls]).toEqual([treatment, calls])
  })

  it('moves a back end of two endpoints once', () => {
    expect(setUp({ bypass: true }, true).one.calls).toEqual(['move bypass'])
  })

  it('says which back end cannot have all of memory, and why', () => {
    const one = new ModelBackend('group 7')
    refuse(one, 'move')
    expect(() => iommuCore({ bypass: true, backends: [one, undefined] })).toThrow(
      "the host cannot map all of the guest's memory for group 7: VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)",
    )
  })

  it('does not count an endpoint that it could not add to its group', () => {
    const bench = setUp()
    refuse(bench.one, 'move')
    bench.iommu.bypass = true
    const add = () => bench.iommu.addEndpoint({ id: 99, name: 'nic', reserved: [], backend: bench.one })
    expect(add).toThrow('for group 1')
    bench.one.answer = () => Outcome.ok
    attach(bench, DISK, 1)
    expect([bench.one.treatment, bench.iommu.endpoint(99)]).toEqual(['translate', undefined])
  })
})

describe('Iommu.attach, with back ends', () => {
  it('moves the back end to the mappings of the domain, in one call', () => {
    const bench = shared()
    attach(bench, NET, 2)
    forget(bench)
    expect(attach(bench, NET, 1)).toEqual(['ok'])
    expect([bench.one.calls, bench.other.calls]).toEqual([[], ['move translate']])
    expect(bench.other.content).toEqual(bench.iommu.domain(1)?.mappings(0, 9))
  })

  it('moves a thousand mappings', () => {
    const bench = setUp()
    attach(bench, DISK, 1)
    Array.from({ length: 1000 }, (_, i) => map(bench, 2 * i))
    attach(bench, NET, 1)
    expect([bench.other.content.length, bench.other.content]).toEqual([1000, bench.one.content])
  })

  it('does not move a back end that is there already', () => {
    const bench = setUp({ bypass: true })
    forget(bench)
    attach(bench, DISK, 5, true)
    attach(bench, DISK, 5, true)
    detach(bench, DISK, 5)
    expect(bench.one.calls).toEqual([])
  })

  it.each([
    ['to a domain that exists', 2, false, 'noMemory'],
    ['to a new domain', 3, false, 'noMemory'],
    ['to a new bypass domain', 3, true, 'noMemory'],
  ])('leaves everything as it was when a move %s fails', (_, domain, bypass, expected) => {
    const bench = shared()
    attach(bench, NET, 2)
    bench.iommu.map(2, 0, PAGE - 1, 0, RIGHTS)
    const before = trace(bench)
    refuse(bench.one, 'move')
    expect(attach(bench, DISK, domain, bypass)).toEqual([expected])
    expect([trace(bench), pages(bench.one), treatments(bench)]).toEqual([before, [5, 7], ['translate', 'translate']])
    expect([map(bench, 9), pages(bench.one)]).toEqual(['ok', [5, 7, 9]])
    expect(backendEvents(bench)).toMatchObject([{ name: 'group 1', refused: 'ATTACH', outcome: expected }])
  })

  it('shows that the endpoint reaches nothing when not even the mappings before can be had again', () => {
    const bench = shared()
    refuse(bench.one, 'move', Outcome.deviceError)
    bench.one.isFragile = true
    expect(attach(bench, DISK, 3)).toEqual(['deviceError'])
    expect([bench.disk.domain?.id, treatments(bench)]).toEqual([1, ['block', 'translate']])
    forget(bench)
    expect([map(bench, 9), bench.one.calls]).toEqual(['ok', []])
  })

  it('fails beyond the limit of the host', () => {
    const bench = shared()
    attach(bench, NET, 2)
    bench.other.limit = 1
    expect([attach(bench, NET, 1), bench.net.domain?.id]).toEqual([['noMemory'], 2])
  })

  it.each([
    ['in a hole of the usable addresses', 0x20_0000, 'unsupported'],
    ['behind the usable addresses', 0x50_0000, 'unsupported'],
    ['in the usable addresses', 0x10_0000, 'ok'],
  ])('answers to attaching an endpoint to mappings %s', (_, start, expected) => {
    const reserved = [
      { kind: 'reserved', start: 0x20_0000, end: 0x2f_ffff },
      { kind: 'reserved', start: 0x40_0000, end: 2 ** 48 - 1 },
    ] as const
    const bench = setUp({ reserved })
    attach(bench, NET, 1)
    bench.iommu.map(1, start, start + PAGE - 1, 0, RIGHTS)
    forget(bench)
    expect(attach(bench, DISK, 1)).toEqual([expected])
    expect(bench.one.calls).toEqual(expected === 'ok' ? ['move translate'] : [])
  })
})

describe('Iommu.detach, with back ends', () => {
  it('takes everything away from the back end', () => {
    const bench = shared()
    expect(detach(bench, DISK)).toEqual(['ok'])
    expect([bench.one.calls, bench.one.treatment, pages(bench.other)]).toEqual([['move block'], 'block', [5, 7]])
  })

  it('takes everything away before it goes to bypass', () => {
    const bench = shared({ bypass: true })
    expect(detach(bench, DISK)).toEqual(['ok'])
    expect(bench.one.calls).toEqual(['move block', 'move bypass'])
  })

  it('blocks where the host has no room for bypass', () => {
    const bench = shared({ bypass: true })
    refuse(bench.one, 'move')
    bench.one.answer = (_, target) => (target === 'bypass' ? Outcome.noMemory : Outcome.ok)
    expect(detach(bench, DISK)).toEqual(['ok'])
    expect([bench.one.treatment, treatments(bench)]).toEqual(['block', ['block', 'translate']])
    expect(bench.warnings).toEqual([
      "group 1: the host cannot map all of the guest's memory, and its devices reach nothing: VFIO_IOMMU_MAP_DMA failed: ENOSPC (errno 28)",
    ])
    expect(backendEvents(bench)).toMatchObject([{ name: 'group 1', refused: 'DETACH', outcome: 'noMemory' }])
  })

  it.each([
    [true, ['bypass', 'bypass']],
    [false, ['block', 'block']],
  ])('is what a reset does to all back ends, with bypass %s', (bypass, expected) => {
    const bench = shared({ bypass })
    bench.iommu.reset(() => {})
    expect([bench.one.treatment, bench.other.treatment]).toEqual(expected)
  })
})

describe('Iommu.bypass, with back ends', () => {
  it('moves the back ends of endpoints in no domain', () => {
    const bench = shared()
    detach(bench, NET)
    forget(bench)
    bench.iommu.bypass = true
    bench.iommu.bypass = false
    expect([bench.one.calls, bench.other.calls]).toEqual([[], ['move bypass', 'move block']])
  })

  it('does not concern a back end that failed in a domain', () => {
    const bench = shared()
    refuse(bench.one, 'unmap')
    unmap(bench, 5)
    forget(bench)
    bench.iommu.bypass = true
    expect([bench.one.calls, bench.warnings.length]).toEqual([[], 1])
  })

  it('blocks where the host has no room', () => {
    const bench = setUp()
    refuse(bench.one, 'move')
    bench.iommu.bypass = true
    expect(treatments(bench)).toEqual(['block', 'bypass'])
    expect(bench.warnings.length).toBe(1)
    expect(backendEvents(bench)).toMatchObject([{ name: 'group 1', refused: 'bypass' }])
  })
})

describe('Iommu, with two endpoints of one host group', () => {
  it('translates when both are in the domain, and not before', () => {
    const bench = setUp({}, true)
    attach(bench, DISK, 1)
    map(bench, 5)
    expect([treatments(bench), bench.one.calls]).toEqual([['block', 'block'], []])
    attach(bench, NET, 1)
    expect([treatments(bench), pages(bench.one)]).toEqual([['translate', 'translate'], [5]])
  })

  it('lets neither through when one leaves', () => {
    const bench = shared({ bypass: true }, true)
    detach(bench, NET)
    expect(treatments(bench)).toEqual(['block', 'block'])
    detach(bench, DISK)
    expect(treatments(bench)).toEqual(['bypass', 'bypass'])
  })

  it('bypasses while one is in a bypass domain and the other in none', () => {
    const bench = setUp({ bypass: true }, true)
    attach(bench, DISK, 1, true)
    expect(treatments(bench)).toEqual(['bypass', 'bypass'])
    bench.iommu.bypass = false
    expect(treatments(bench)).toEqual(['block', 'block'])
  })

  it.each([
    ['a domain', false, 2, false, 'block'],
    ['a bypass domain', false, 2, true, 'block'],
    ['a bypass domain, beside another one', true, 2, true, 'bypass'],
    ['a domain, beside a bypass domain', true, 2, false, 'block'],
    ['the same domain', false, 1, false, 'translate'],
  ])('takes the second to %s, and treats both alike', (_, firstBypass, domain, bypass, expected) => {
    const bench = setUp({}, true)
    attach(bench, DISK, 1, firstBypass)
    expect(attach(bench, NET, domain, bypass)).toEqual(['ok'])
    expect(treatments(bench)).toEqual([expected, expected])
  })

  it('moves both to another domain one after the other, and lets nothing through between', () => {
    const bench = shared({}, true)
    attach(bench, DISK, 2)
    expect([treatments(bench), pages(bench.one)]).toEqual([['block', 'block'], []])
    attach(bench, NET, 2)
    expect([treatments(bench), pages(bench.one)]).toEqual([['translate', 'translate'], []])
  })
})

describe('Iommu.state, with back ends', () => {
  it('has each back end, and the sum of their calls', () => {
    const bench = shared()
    unmap(bench, 7)
    const { endpoints, counters } = bench.iommu.state()
    const backend = { treatment: 'translate', mappings: 1, limit: null, pinnedBytes: PAGE, mapCalls: 2, unmapCalls: 1 }
    expect(endpoints).toMatchObject([
      { name: 'disk', treatment: 'translate', backend: { ...backend, name: 'group 1' } },
      { name: 'net', treatment: 'translate', backend: { ...backend, name: 'group 2' } },
    ])
    expect(counters).toMatchObject({ mapCalls: 4, unmapCalls: 2 })
  })
})

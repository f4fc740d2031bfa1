import { describe, expect, it } from 'vitest'
import type { RequestEvent } from '../../../src/iommu/events.ts'
import type { Mapping } from '../../../src/report/mapping.ts'
import { Replay } from '../../../src/report/replay.ts'
import { TraceScript } from '../../support/trace-script.ts'

/** Replays the script's requests, each at its time; all are taken for answered with OK. */
function replay(script: TraceScript): { readonly replay: Replay; readonly ended: readonly Mapping[] } {
  const ended: Mapping[] = []
  const result = new Replay(mapping => ended.push(mapping))
  const requests = script.events.filter((event): event is RequestEvent => event.type === 'request')
  for (const request of requests) result.apply(request, request.t)
  return { replay: result, ended }
}

const ranges = (mappings: readonly Mapping[]) => mappings.map(({ start, end }) => [start, end])

describe('Replay', () => {
  it('makes a domain of the first ATTACH, and maps in it', () => {
    const { replay: result } = replay(new TraceScript().attach(8, 1).attach(16, 1).at(2).map(1, 0x1000, 0x2000, 1))
    const domain = result.domains.get(1)
    expect([...(domain?.endpoints ?? [])]).toEqual([8, 16])
    expect(domain?.mappings.all()).toEqual([
      {
        domain: 1,
        start: 0x1000,
        end: 0x2fff,
        phys: 0x100_1000,
        flags: 1,
        seq: 3,
        bornMs: 2,
        diedMs: undefined,
        endedBy: undefined,
      },
    ])
    expect([result.mappings, result.bytes, domain?.bytes]).toEqual([1, 0x2000, 0x2000])
  })

  it.each([
    ['without a range', {}],
    ['that ends before its start', { start: 0x2000, end: 0xfff, phys: 0 }],
    ['without a target', { start: 0, end: 0xfff }],
  ])('leaves out a MAP %s', (_, fields) => {
    const { replay: result } = replay(new TraceScript().attach(8, 1).request('MAP', { domain: 1, ...fields }))
    expect([result.mappings, result.bytes]).toEqual([0, 0])
  })

  it('ends all mappings in the range of an UNMAP', () => {
    const script = new TraceScript().attach(8, 1).map(1, 0, 0x1000).map(1, 0x2000, 0x1000).map(1, 0x9000, 0x1000)
    const { replay: result, ended } = replay(script.at(5).unmap(1, 0, 0x4000))
    expect(ranges(ended)).toEqual([
      [0, 0xfff],
      [0x2000, 0x2fff],
    ])
    expect(ended.map(({ diedMs, endedBy }) => [diedMs, endedBy])).toEqual([
      [5, 'UNMAP'],
      [5, 'UNMAP'],
    ])
    expect(result.mappings).toBe(1)
  })

  it('ends a domain with its last endpoint, and the mappings with it', () => {
    const script = new TraceScript().attach(8, 1).attach(16, 1).map(1, 0, 0x1000).at(3).detach(8, 1)
    expect(replay(script).replay.mappings).toBe(1)
    const { replay: result, ended } = replay(script.at(4).detach(16, 1))
    expect(ended).toMatchObject([{ diedMs: 4, endedBy: 'DETACH' }])
    expect([result.mappings, result.bytes, result.domains.size]).toEqual([0, 0, 0])
    expect(result.departures.get(16)).toEqual({ atMs: 4, cause: 'DETACH' })
  })

  it('detaches an endpoint that is attached to another domain', () => {
    const script = new TraceScript().attach(8, 1).map(1, 0, 0x1000).at(2).attach(8, 2)
    const { replay: result, ended } = replay(script)
    expect(ended).toMatchObject([{ domain: 1, diedMs: 2, endedBy: 'ATTACH' }])
    expect([...result.domains.keys()]).toEqual([2])
    expect(result.departures.size).toBe(0)
  })

  it('keeps the mappings when an endpoint is attached to its own domain again', () => {
    expect(replay(new TraceScript().attach(8, 1).map(1, 0, 0x1000).attach(8, 1)).replay.mappings).toBe(1)
  })

  it('ends everything with a reset', () => {
    const { replay: result, ended } = replay(new TraceScript().attach(8, 1).map(1, 0, 0x1000).map(7, 0, 0x1000))
    result.reset(9)
    expect(ended).toMatchObject([
      { domain: 1, diedMs: 9, endedBy: 'reset' },
      { domain: 7, diedMs: 9, endedBy: 'reset' },
    ])
    expect([result.mappings, result.domains.size]).toEqual([0, 0])
    expect(result.departures.get(8)).toEqual({ atMs: 9, cause: 'reset' })
  })

  it('takes an UNMAP of the whole address space, whose end has 64 bits', () => {
    const script = new TraceScript()
      .attach(8, 1)
      .map(1, 0, 0x1000)
      .map(1, 2 ** 47, 0x1000)
    const { replay: result } = replay(script.request('UNMAP', { domain: 1, start: 0, end: 2 ** 64 }))
    expect(result.mappings).toBe(0)
  })

  it('knows the last mappings that ended in a domain, the last one first', () => {
    const script = new TraceScript().map(1, 0, 0x1000).map(1, 0x1000, 0x1000).map(2, 0, 0x1000)
    const { replay: result } = replay(script.unmap(1, 0, 0x1000).unmap(2, 0, 0x1000).unmap(1, 0x1000, 0x1000))
    expect(ranges([...result.recentlyEnded(1)])).toEqual([
      [0x1000, 0x1fff],
      [0, 0xfff],
    ])
  })

  it('takes UNMAP and DETACH of what it never saw', () => {
    const { replay: result } = replay(new TraceScript().unmap(5, 0, 0x1000).detach(8, 5))
    expect([result.mappings, result.endedCount]).toEqual([0, 0])
  })
})

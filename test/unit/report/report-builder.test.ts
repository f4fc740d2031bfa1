import { describe, expect, it } from 'vitest'
import type { Report } from '../../../src/report/report.ts'
import { ReportBuilder } from '../../../src/report/report-builder.ts'
import { repeat } from '../../support/repeat.ts'
import { TraceScript } from '../../support/trace-script.ts'

const SOURCE = { name: 'trace', lines: 1, isTruncated: false }

function report(script: TraceScript): Report {
  const builder = new ReportBuilder()
  for (const event of script.events) builder.add(event)
  return builder.finish(SOURCE).report
}

const script = () => new TraceScript().start().attach(8, 1)
const invalidation = (waitedUs: number, mappings = 1) => ({
  type: 'invalidation' as const,
  cause: 'UNMAP' as const,
  domain: 1,
  start: '0x1000',
  end: '0x1fff',
  mappings,
  endpoints: [8],
  waitedUs,
})

describe('ReportBuilder', () => {
  it('tells what the trace is of', () => {
    expect(report(script().at(7).add({ type: 'features', value: '0x77' }))).toMatchObject({
      name: 'trace',
      hasStart: true,
      granule: 4096,
      input: ['0x0', '0xffffffffffff'],
      bypass: true,
      starts: 1,
      firstMs: 0,
      lastMs: 7,
      endpoints: [
        { id: 8, name: 'disk0', faults: 0 },
        { id: 16, name: 'net0', faults: 0 },
      ],
      life: [{ atMs: 7, what: 'features INPUT_RANGE DOMAIN_RANGE MAP_UNMAP PROBE MMIO BYPASS_CONFIG' }],
    })
  })

  it('counts requests by kind, with their latencies', () => {
    const trace = script().request('MAP', { domain: 1, start: 0, end: 0xfff, phys: 0, flags: 3 }, 'OK', 2)
    const { kinds, requests, failed } = report(trace.request('0x12', {}, 'UNSUPP', 3).request('PROBE', {}, 'OK', 4))
    expect(kinds.map(({ kind, count, failed, latency: { max } }) => [kind, count, failed, max])).toEqual([
      ['MAP', 1, 0, 2],
      ['ATTACH', 1, 0, 1],
      ['PROBE', 1, 0, 4],
      ['other', 1, 1, 3],
    ])
    expect([requests, failed]).toEqual([4, 1])
  })

  it('groups failed requests by status, with the first one of each', () => {
    const bad = { domain: 1, start: 0x10, end: 0xfff, phys: 0x20, flags: 3 }
    const trace = script().at(1).request('MAP', bad, 'RANGE').at(2).request('MAP', bad, 'RANGE')
    expect(report(trace.request('MAP', { ...bad, flags: 0x30 }, 'INVAL')).failures).toEqual([
      {
        request: 'MAP',
        status: 'RANGE',
        count: 2,
        seq: 2,
        atMs: 1,
        detail: 'domain 1, 0x10-0xfff, to 0x20, rw',
        bytes: '03000000',
      },
      {
        request: 'MAP',
        status: 'INVAL',
        count: 1,
        seq: 4,
        atMs: 2,
        detail: 'domain 1, 0x10-0xfff, to 0x20, flags 0x30',
        bytes: '03000000',
      },
    ])
  })

  it('counts requests without an answer as failed: at the end, and at a reset', () => {
    const trace = script().asked('MAP', { domain: 1 }).at(4).add({ type: 'reset' }).asked('PROBE', { endpoint: 8 })
    expect(report(trace).failures.map(({ request, status, atMs }) => [request, status, atMs])).toEqual([
      ['MAP', 'unanswered', 4],
      ['PROBE', 'unanswered', 4],
    ])
  })

  it('takes a reply without a status for a failure', () => {
    const trace = script().asked('MAP', { domain: 1 }).add({ type: 'reply', seq: 2, written: 0, us: 1 })
    expect(report(trace).failures).toMatchObject([{ request: 'MAP', status: 'none' }])
  })

  it('maps nothing by a request that failed', () => {
    const trace = script().request('MAP', { domain: 1, start: 0, end: 0xfff, phys: 0, flags: 3 }, 'NOMEM')
    expect(report(trace)).toMatchObject({ leakedMappings: 0, peakMappings: 0 })
  })

  it('groups what was never removed by size, the most memory first', () => {
    const trace = script().at(1).map(1, 0x1000, 0x1000).at(3).map(1, 0x2000, 0x1000).map(1, 0x10_0000, 0x8000, 1)
    const { leaks, leakedMappings, leakedBytes } = report(
      trace.map(1, 0x5000, 0x1000).unmap(1, 0x5000, 0x1000).at(9).detach(16, 2),
    )
    expect(leaks).toMatchObject([
      { domain: 1, sizeBytes: 0x8000, flags: 1, count: 1, bytes: 0x8000, oldestMs: 6, youngestMs: 6 },
      { domain: 1, sizeBytes: 0x1000, flags: 3, count: 2, bytes: 0x2000, oldestMs: 8, youngestMs: 6 },
    ])
    expect(leaks[1]?.examples.map(({ start, seq }) => [start, seq])).toEqual([
      [0x1000, 2],
      [0x2000, 3],
    ])
    expect([leakedMappings, leakedBytes]).toEqual([3, 0xa000])
  })

  it('counts what goes with a reset as never removed, with its age at the reset', () => {
    const trace = script().at(1).map(1, 0, 0x1000).at(4).add({ type: 'reset' }).at(9).attach(8, 1).map(1, 0, 0x1000)
    const { leaks, ...facts } = report(trace.at(10).detach(8, 1))
    expect(leaks).toMatchObject([{ count: 1, oldestMs: 3, youngestMs: 3 }])
    expect(facts).toMatchObject({
      leakedMappings: 1,
      leakedBytes: 0x1000,
      resetMappings: 1,
      lifetimes: { count: 1, max: 1 },
    })
  })

  it('measures how long mappings lived', () => {
    const trace = script().at(1).map(1, 0, 0x1000).at(3).unmap(1, 0, 0x1000).map(1, 0, 0x1000).at(9).unmap(1, 0, 0x1000)
    expect(report(trace).lifetimes).toMatchObject({ count: 2, mean: 4, max: 6 })
  })

  it('keeps the peaks of each domain, and what it has at the end', () => {
    const trace = script().attach(16, 1).map(1, 0, 0x1000).map(1, 0x1000, 0x1000).map(1, 0x8000, 0x4000)
    const { domains, peakMappings, peakBytes } = report(
      trace.unmap(1, 0x8000, 0x4000).map(1, 0x4000, 0x1000).attach(8, 9),
    )
    expect(domains).toEqual([
      {
        id: 1,
        bypass: false,
        endpoints: ['disk0', 'net0'],
        maps: 4,
        peakMappings: 3,
        peakBytes: 0x6000,
        mappings: 3,
        bytes: 0x3000,
        runs: 2,
      },
      expect.objectContaining({ id: 9, endpoints: ['disk0'], maps: 0, mappings: 0 }),
    ])
    expect([peakMappings, peakBytes]).toEqual([3, 0x6000])
  })

  it('groups faults by endpoint, access and cause', () => {
    const trace = script().map(1, 0x4000, 0x1000, 1)
    trace.at(1).fault(0x4800, 'write', { domain: 1 }).at(2).fault(0x4000, 'write', { domain: 1 })
    const { faults, faultCount, endpoints } = report(trace.at(3).fault(0x7000, 'read', { domain: 1 }))
    expect(faults).toMatchObject([
      { name: 'disk0', access: 'write', count: 2, low: 0x4000, high: 0x4800, firstMs: 1, lastMs: 2 },
      { name: 'disk0', access: 'read', count: 1, low: 0x7000, high: 0x7000, cause: 'behind a mapping' },
    ])
    expect(faultCount).toBe(3)
    expect(endpoints[0]).toEqual({ id: 8, name: 'disk0', faults: 3 })
  })

  it("keeps faults that the host told of apart, with the host's words", () => {
    const fault = { type: 'fault', endpoint: 8, name: 'disk0', reason: 'mapping', access: 'read', domain: 1 } as const
    const trace = script().map(1, 0x4000, 0x1000, 1).fault(0x7000, 'read', { domain: 1 })
    trace.add({ ...fault, address: '0x7000', source: 'host', detail: 'not set' })
    expect(report(trace).faults).toMatchObject([
      { count: 1, cause: 'behind a mapping' },
      {
        count: 1,
        cause: 'behind a mapping (host)',
        examples: [{ text: expect.stringMatching(/; the host says: not set$/) }],
      },
    ])
  })

  it('takes a mapping for removed when the host refused to take it back', () => {
    const range = { domain: 1, start: 0x4000, end: 0x4fff }
    const trace = script().map(1, 0x4000, 0x1000, 1).request('UNMAP', range, 'DEVERR')
    expect(report(trace)).toMatchObject({ leakedMappings: 0, failed: 1 })
  })

  it('tells what the host refused', () => {
    const trace = script().at(3).add({ type: 'backend', name: 'group 7', refused: 'MAP', outcome: 'noMemory' })
    expect(report(trace).life.at(-1)).toEqual({ atMs: 3, what: 'group 7 refuses MAP: noMemory' })
  })

  it('counts findings by name, and keeps the first', () => {
    const finding = { type: 'finding' as const, name: 'map-overlap', section: 'VIRTIO 1.2 §5.13.6.5.1', bytes: '03' }
    const trace = script()
      .at(2)
      .add({ ...finding, text: 'first', seq: 4 })
      .add({ ...finding, text: 'second' })
    expect(report(trace).findings).toEqual([
      { name: 'map-overlap', section: 'VIRTIO 1.2 §5.13.6.5.1', count: 2, atMs: 2, text: 'first', bytes: '03', seq: 4 },
    ])
  })

  it('knows how many invalidations waited, and the longest of them', () => {
    const trace = script().add(invalidation(0)).add(invalidation(5)).add(invalidation(70)).add(invalidation(6))
    const { invalidations, waits, longestWaits } = report(trace)
    expect([invalidations, waits]).toEqual([4, 3])
    expect(longestWaits.map(({ waitedUs, endpoints }) => [waitedUs, ...endpoints])).toEqual([
      [70, 'disk0'],
      [6, 'disk0'],
      [5, 'disk0'],
    ])
  })

  it('keeps the ten longest waits of many', () => {
    const trace = script()
    repeat(50, turn => trace.add(invalidation(((turn + 1) * 7) % 51)))
    expect(report(trace).longestWaits.map(({ waitedUs }) => waitedUs)).toEqual([50, 49, 48, 47, 46, 45, 44, 43, 42, 41])
  })

  it('says how many mappings were removed that it never saw', () => {
    const trace = new TraceScript().map(1, 0x1000, 0x1000).add(invalidation(0, 3)).unmap(1, 0x1000, 0x1000)
    expect(report(trace)).toMatchObject({ hasStart: false, unseen: 2 })
  })

  it('goes on where a machine starts again: times add up, and nothing is mapped or attached', () => {
    const trace = script().at(5).map(1, 0, 0x1000).at(0).start().at(2).attach(8, 1).map(1, 0, 0x1000)
    expect(report(trace)).toMatchObject({ starts: 2, lastMs: 7, leakedMappings: 2, resetMappings: 1, peakMappings: 1 })
  })

  it('counts faults that the driver was not told of', () => {
    const drop = { type: 'drop' as const, endpoint: 8, address: '0x0', cause: 'no buffer' }
    expect(report(script().add(drop).add(drop)).drops).toEqual([{ cause: 'no buffer', count: 2 }])
  })

  it('counts over time, faults as the last kind, and the mappings that are there', () => {
    const { timeline } = report(script().map(1, 0, 0x1000).fault(0x5000).at(0.2).unmap(1, 0, 0x1000))
    expect(timeline).toEqual({
      stepMs: 0.125,
      steps: [
        { counts: [1, 0, 1, 0, 0, 0, 1], peak: 1 },
        { counts: [0, 1, 0, 0, 0, 0, 0], peak: 1 },
      ],
    })
  })

  it('takes a trace that begins long after the start', () => {
    const { timeline, firstMs } = report(new TraceScript().at(1e7).attach(8, 1).map(1, 0, 0x1000))
    expect([firstMs, timeline.stepMs, timeline.steps.length]).toEqual([1e7, 0.125, 1])
  })
})

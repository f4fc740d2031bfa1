import { describe, expect, it } from 'vitest'
import type { IommuState } from '../../../src/iommu/state.ts'
import { TraceBatch } from '../../../src/machine/iommu-trace-batch.ts'
import { ManualAlarm } from '../../support/manual-alarm.ts'
import { repeat } from '../../support/repeat.ts'

const RESET = { type: 'reset' } as const
const RESET_LINE = '{"t":2.5,"type":"reset"}\n'

function bench() {
  const sent: string[] = []
  const timer = new ManualAlarm()
  const batch = new TraceBatch({ send: lines => sent.push(lines), timer, startedMs: 1000, now: () => 1002.5 })
  return { sent, timer, batch }
}

const STATE: IommuState = {
  granule: 65_536,
  input: { start: 0, end: 2 ** 48 - 1 },
  domainRange: { start: 1, end: 9 },
  bypass: false,
  endpoints: [
    {
      id: 8,
      name: 'disk0',
      domain: null,
      treatment: 'block',
      reserved: [{ kind: 'msi', start: 0xfee0_0000, end: 0xfeef_ffff }],
      faults: 0,
    },
    { id: 16, name: 'net0', domain: null, treatment: 'block', reserved: [], faults: 0 },
  ],
  domains: [],
  counters: {
    attaches: 0,
    detaches: 0,
    maps: 0,
    unmaps: 0,
    removed: 0,
    faults: 0,
    waits: 0,
    mappings: 0,
    pages: 0,
    tableBytes: 0,
  },
}

describe('TraceBatch', () => {
  it('sends lines together after 50 ms, with the time since the start first', () => {
    const { sent, timer, batch } = bench()
    batch.trace(RESET)
    batch.trace({ type: 'bypass', value: '1' })
    expect([sent, timer.delayMs]).toEqual([[], 50])
    timer.fire()
    expect(sent).toEqual([`${RESET_LINE}{"t":2.5,"type":"bypass","value":"1"}\n`])
  })

  it('waits anew for the lines after a batch', () => {
    const { sent, timer, batch } = bench()
    batch.trace(RESET)
    timer.fire()
    batch.trace(RESET)
    expect(timer.delayMs).toBe(50)
    timer.fire()
    expect(sent).toEqual([RESET_LINE, RESET_LINE])
  })

  it('sends at once when there are 64 KiB', () => {
    const { sent, timer, batch } = bench()
    repeat(3000, () => batch.trace(RESET))
    expect(sent).toHaveLength(1)
    expect(sent[0]?.length).toBeGreaterThanOrEqual(65_536)
    expect(sent[0]?.length).toBeLessThan(65_536 + RESET_LINE.length)
    timer.fire()
    expect(sent.join('')).toBe(RESET_LINE.repeat(3000))
  })

  it('sends what there is when it is told to, and nothing twice', () => {
    const { sent, timer, batch } = bench()
    batch.trace(RESET)
    batch.flush()
    batch.flush()
    timer.fire()
    expect([sent, timer.delayMs]).toEqual([[RESET_LINE], undefined])
  })

  it('begins with what the trace is of', () => {
    const { sent, batch } = bench()
    batch.start(STATE)
    batch.flush()
    expect(JSON.parse(sent.join(''))).toEqual({
      t: 2.5,
      type: 'start',
      version: 1,
      granule: 65_536,
      input: ['0x0', '0xffffffffffff'],
      domains: [1, 9],
      bypass: false,
      endpoints: [
        { id: 8, name: 'disk0', reserved: [{ kind: 'msi', start: '0xfee00000', end: '0xfeefffff' }] },
        { id: 16, name: 'net0' },
      ],
    })
  })
})

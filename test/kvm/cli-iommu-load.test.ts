import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { Report } from '../../src/report/report.ts'
import { buildBenchGuest } from '../bench/bench-guest.ts'
import { Workshop } from '../bench/c-program.ts'
import { Place } from '../support/bulkhead.ts'
import { missingCompiler } from '../support/c-program.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { describeUnless } from '../support/skip.ts'

/** More than two answers of mappings. */
const RESIDENT = 9000
const FILL = `iommu-fill,resident=${RESIDENT},depth=64`

interface Dump {
  readonly endpoints: readonly number[]
  readonly mappings: readonly { readonly start: number; readonly end: number }[]
}

let workshop: Workshop
let guest: string
beforeAll(() => {
  workshop = new Workshop()
  guest = buildBenchGuest(workshop)
})
afterAll(() => workshop[Symbol.dispose]())

let place: Place
beforeEach(() => {
  place = new Place({ ownCache: true })
})
afterEach(() => place[Symbol.dispose]())

const start = (words: string, ...options: readonly string[]) => {
  const machine = ['run', '--host', 'kvm', '-m', '128', '-k', guest, '--rng', '--iommu', 'all', '--name', 'guest']
  return place.start([...machine, '-p', `tsc_khz=2000000 ${words}`, ...options])
}

describeUnless(missingKvm() ?? missingCompiler('stdint.h'), 'the view into the IOMMU of a busy guest', () => {
  it('dumps all mappings, in the order of addresses and each once', async () => {
    const run = start(`${FILL} iommu-pair,count=100000000,resident=${RESIDENT}`)
    await run.saw('.rate')
    const { status, stdout } = await place.bulkhead(['iommu', 'dump', 'guest', '--json'])
    run.child.kill('SIGTERM')
    await run.result
    const [domain] = JSON.parse(stdout) as readonly Dump[]
    const starts = domain?.mappings.map(mapping => mapping.start) ?? []
    // The guest maps and unmaps one more all the time.
    expect(starts.length).toBeGreaterThanOrEqual(RESIDENT)
    expect(starts.length).toBeLessThanOrEqual(RESIDENT + 3)
    expect(starts).toEqual([...new Set(starts)].sort((a, b) => a - b))
    expect([status, domain?.endpoints]).toEqual([0, [8]])
  })

  it('traces everything to the end of the guest, and reports what was left', async () => {
    const [trace, page] = [join(place.root, 'trace.jsonl'), join(place.root, 'page.html')]
    await start(FILL, '--iommu-trace', trace).result
    const { status, stdout, stderr } = await place.bulkhead(['iommu', 'report', trace, '--json', '--html', page])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const report = JSON.parse(stdout) as Report
    const maps = report.kinds.find(({ kind }) => kind === 'MAP')
    expect(maps?.count).toBeGreaterThanOrEqual(RESIDENT)
    expect(report).toMatchObject({ failed: 0, faultCount: 0, findings: [], unseen: 0, peakMappings: maps?.count })
    expect(report.lifetimes.count + report.leakedMappings).toBe(maps?.count)
    expect(readFileSync(page, 'utf8')).toContain('<image href="data:image/png;base64,')
  })
})

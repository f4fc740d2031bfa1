/** Linux with all its devices behind the IOMMU, in each of its modes and topologies. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import type { Report } from '../../src/report/report.ts'
import { runBulkhead } from '../support/bulkhead.ts'
import { endpointOf, IommuGuest } from '../support/iommu-guest.ts'

const WORK = 'files; echo "files: $(check)"; echo "address: $(lease)"; echo "entropy: $(entropy)"'
/** What comes of it; the commands come and go by the console. */
const WORKED = { files: '4', address: '10.0.2.15', entropy: '4096' }
const DEVICES = ['-n', 'user', '--rng', '--iommu-check']
const NAMES = ['console0', 'disk0', 'disk1', 'net0', 'rng0']
const CLEAN = { status: 0, stderr: '', leftovers: [] }

const sumOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

let guest: IommuGuest
afterEach(() => guest[Symbol.asyncDispose]())

describe('Linux with all devices behind the IOMMU', () => {
  it('works in lazy mode behind root ports, with the tables that are dumped and a trace of it all', async () => {
    guest = await IommuGuest.start(folder => [
      ...['--root-ports', '-p', 'pci=realloc', '--iommu', 'all,topology=both', ...DEVICES],
      ...['--dump-dtb', `${folder}/dtb`, '--dump-acpi', `${folder}/acpi`, '--iommu-trace', `${folder}/trace`],
    ])
    expect(await guest.facts('groups')).toEqual({
      'group-01.00.0': 'DMA-FQ 1 fee00000 feefffff msi ',
      'group-02.00.0': 'DMA-FQ 1 fee00000 feefffff msi ',
      'group-03.00.0': 'DMA-FQ 1 fee00000 feefffff msi ',
      'group-04.00.0': 'DMA-FQ 1 fee00000 feefffff msi ',
      'group-05.00.0': 'DMA-FQ 1 fee00000 feefffff msi ',
    })
    const tables = await guest.facts(`
      echo "viot: $(sha256sum </sys/firmware/acpi/tables/VIOT | cut -d ' ' -f 1)"
      for data in /sys/kernel/boot_params/setup_data/*; do
        [ $(cat $data/type) = 0x2 ] && echo "dtb: $(sha256sum <$data/data | cut -d ' ' -f 1)"
      done`)
    expect(tables).toEqual({ viot: sumOf(guest.path('acpi/viot.dat')), dtb: sumOf(guest.path('dtb')) })
    expect(await guest.facts(`${WORK}; echo "complaints: $(complaints)"`)).toEqual({ ...WORKED, complaints: '' })
    const { endpoints, counters, domains } = await guest.state()
    expect(endpoints.map(({ name, treatment }) => `${name} ${treatment}`)).toEqual(
      NAMES.map(name => `${name} translate`),
    )
    expect(domains).toHaveLength(NAMES.length)
    expect(counters.faults).toBe(0)
    expect(await guest.end()).toEqual(CLEAN)

    const page = guest.path('report.html')
    const told = await runBulkhead(['iommu', 'report', guest.path('trace'), '--json', '--html', page])
    expect(told).toMatchObject({ status: 0, stderr: '' })
    const report = JSON.parse(told.stdout) as Report
    expect(report).toMatchObject({
      isTruncated: false,
      hasStart: true,
      starts: 1,
      failed: 0,
      faultCount: 0,
      findings: [],
    })
    const countOf = (wanted: string) => report.kinds.find(({ kind }) => kind === wanted)?.count
    expect([countOf('ATTACH'), countOf('PROBE')]).toEqual([NAMES.length, NAMES.length])
    expect(countOf('MAP')).toBeGreaterThanOrEqual(counters.maps)
    expect(countOf('UNMAP')).toBeGreaterThanOrEqual(counters.unmaps)
    expect(report.unseen).toBe(0)
    expect(readFileSync(page, 'utf8')).toMatch(/<\/html>\s*$/)
  })

  it('works with iommu.passthrough=1: identity domains without mappings', async () => {
    guest = await IommuGuest.start(() => ['-p', 'iommu.passthrough=1', '--iommu', 'all', ...DEVICES])
    expect(await guest.facts('groups')).toEqual({
      'group-00.01.0': 'identity 1 fee00000 feefffff msi ',
      'group-00.02.0': 'identity 1 fee00000 feefffff msi ',
      'group-00.03.0': 'identity 1 fee00000 feefffff msi ',
      'group-00.04.0': 'identity 1 fee00000 feefffff msi ',
      'group-00.05.0': 'identity 1 fee00000 feefffff msi ',
    })
    expect(await guest.facts(`${WORK}; echo "complaints: $(complaints)"`)).toEqual({ ...WORKED, complaints: '' })
    const state = await guest.state()
    expect(state.counters).toMatchObject({ attaches: NAMES.length, maps: 0, mappings: 0, faults: 0 })
    expect(endpointOf(state, 'disk0')).toEqual({ treatment: 'bypass', bypass: true, mappings: 0, faults: 0 })
    expect(await guest.end()).toEqual(CLEAN)
  })

  it('works behind a conventional bridge, whose devices share a group', async () => {
    const words = ['--pci-bridge', '-p', 'iommu.strict=1', '--iommu', 'all', ...DEVICES]
    guest = await IommuGuest.start(() => words)
    // The bridge and the five devices behind it.
    expect(await guest.facts('groups')).toEqual({ 'group-00.01.0': 'DMA 6 fee00000 feefffff msi ' })
    expect(await guest.facts(`${WORK}; echo "complaints: $(complaints)"`)).toEqual({ ...WORKED, complaints: '' })
    const { counters, domains } = await guest.state()
    expect(domains).toHaveLength(1)
    expect(counters.maps).toBeGreaterThan(100)
    expect(counters.faults).toBe(0)
    expect(await guest.end()).toEqual(CLEAN)
  })
})

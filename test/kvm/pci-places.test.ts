import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { IommuEvent } from '../../src/iommu/events.ts'
import { runBenchTests } from '../support/bench-machine.ts'
import { missingCompiler } from '../support/c-program.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { describeUnless } from '../support/skip.ts'

const READS = 'blk-read,count=50,depth=8'

let folder: string
let disk: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
  disk = join(folder, 'disk')
  writeFileSync(disk, new Uint8Array(2 ** 20))
})
afterAll(() => rmSync(folder, { recursive: true }))

describeUnless(missingKvm() ?? missingCompiler('stdint.h'), 'devices of a guest that scans the buses', () => {
  it.each([
    ['behind root ports', { rootPorts: true }],
    ['behind a bridge to a conventional bus', { pciBridge: true }],
  ])('work %s, with interrupts', async (_where, config) => {
    const words = [`${READS},interrupts=taken`, 'rng,size=16,count=50']
    const { outcome, output } = await runBenchTests(words.join(' '), disk, config)
    expect(output).toMatch(/done\s*$/)
    expect(outcome).toEqual({ type: 'debugExit', status: 1 })
  })

  it.each([
    ['behind root ports', { rootPorts: true }, 0x100],
    ['behind a bridge to a conventional bus', { pciBridge: true }, 0x100],
  ])('are mapped for by the IOMMU %s', async (_where, config, endpoint) => {
    const events: IommuEvent[] = []
    const iommu = { endpoints: ['disk0'] }
    const { output } = await runBenchTests(`${READS},dma=strict`, disk, { ...config, iommu }, machine => {
      machine.iommu?.onEvent(event => void events.push(event))
    })
    expect(output).toMatch(/done\s*$/)
    expect(events.filter(({ type }) => type === 'fault')).toEqual([])
    expect(events.filter(event => event.type === 'request' && event.request === 'ATTACH')).toMatchObject([{ endpoint }])
  })
})

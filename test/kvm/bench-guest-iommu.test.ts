import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { FaultEvent, IommuEvent } from '../../src/iommu/events.ts'
import type { IommuConfig } from '../../src/machine/iommu-config.ts'
import type { IommuFinding } from '../../src/machine/iommu-view.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { type BenchRun, runBenchTests } from '../support/bench-machine.ts'
import { missingCompiler } from '../support/c-program.ts'
import { missingKvm } from '../support/kvm-host.ts'
import { describeUnless } from '../support/skip.ts'

/** As in the guest's iommu-checks.c. */
const BUFFER_IOVA = '0x100005000'
const DOORBELL_IOVA = '0x4000000000'
const DEVICE_NEEDS_RESET = 64
const VIRTIO_IOMMU_FAULT_R_DOMAIN = 1
const VIRTIO_IOMMU_FAULT_R_MAPPING = 2
const VIRTIO_IOMMU_FAULT_F_WRITE = 2
const VIRTIO_IOMMU_FAULT_F_ADDRESS = 0x100

let folder: string
let disk: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
  disk = join(folder, 'disk')
  writeFileSync(disk, new Uint8Array(2 ** 20))
})
afterAll(() => rmSync(folder, { recursive: true }))

interface IommuRun extends BenchRun {
  readonly faults: readonly FaultEvent[]
  readonly findings: readonly IommuFinding[]
}

async function runBehindIommu(words: string, config: Partial<IommuConfig> = {}): Promise<IommuRun> {
  const events: IommuEvent[] = []
  let watched: Machine | undefined
  const run = await runBenchTests(words, disk, { iommu: { endpoints: 'all', ...config } }, machine => {
    watched = machine
    machine.iommu?.onEvent(event => void events.push(event))
  })
  const findings = (await watched?.iommu?.findings()) ?? []
  return { ...run, faults: events.filter(event => event.type === 'fault'), findings }
}

/** The metrics of one word. */
function metrics({ report, output }: BenchRun, word: string): Readonly<Record<string, number>> {
  expect(output).toMatch(/done\s*$/)
  const own = [...report].filter(([name]) => name.startsWith(`${word}.`))
  return Object.fromEntries(own.map(([name, value]) => [name.slice(word.length + 1), value]))
}

describeUnless(missingKvm() ?? missingCompiler('stdint.h'), 'the bench guest behind an IOMMU', () => {
  it.each(['direct', 'static', 'strict'])('reads and writes the disk with dma=%s, without a fault', async dma => {
    const words = ['blk-read,depth=8', 'blk-write,depth=8', 'blk-read,depth=8,interrupts=taken', 'rng,size=64']
    const run = await runBehindIommu(words.map(word => `${word},count=50,dma=${dma}`).join(' '))
    expect(run.output).toMatch(/done\s*$/)
    expect(run.faults).toEqual([])
    expect(run.findings).toEqual([])
  })

  it('maps and unmaps among ten thousand mappings, one by one and in batches', async () => {
    const words = ['map', 'unmap', 'pair'].flatMap(test => [
      `iommu-${test},resident=10000,count=100`,
      `iommu-${test},resident=10000,count=3000,depth=64`,
    ])
    const run = await runBehindIommu(['iommu-probe,count=10', 'iommu-attach,count=10', ...words].join(' '))
    expect(run.output).toMatch(/done\s*$/)
    expect(run.findings).toEqual([])
  })

  it.each([
    ['that was never mapped', 'iommu-unmapped'],
    ['whose mapping was removed', 'iommu-removed'],
    ['that may only be read', 'iommu-read-only'],
  ])('keeps the disk from writing to a buffer %s', async (_, word) => {
    const run = await runBehindIommu(word)
    expect(metrics(run, word)).toEqual({
      status: DEVICE_NEEDS_RESET,
      faults: 1,
      reason: VIRTIO_IOMMU_FAULT_R_MAPPING,
      flags: VIRTIO_IOMMU_FAULT_F_WRITE | VIRTIO_IOMMU_FAULT_F_ADDRESS,
      own: 1,
      offset: 0,
      lost: 0,
      recovered: 1,
    })
    expect(run.faults).toEqual([
      expect.objectContaining({ name: 'disk0', reason: 'mapping', access: 'write', address: BUFFER_IOVA }),
    ])
    expect(run.findings).toEqual([])
  })

  it('keeps the disk in no domain from its own rings, when nothing bypasses the IOMMU', async () => {
    const run = await runBehindIommu('iommu-blocked')
    expect(metrics(run, 'iommu-blocked')).toMatchObject({
      status: DEVICE_NEEDS_RESET,
      faults: 1,
      reason: VIRTIO_IOMMU_FAULT_R_DOMAIN,
      own: 1,
      lost: 0,
      recovered: 1,
    })
    expect(run.faults).toEqual([expect.objectContaining({ name: 'disk0', reason: 'domain' })])
  })

  it('leads interrupts through the doorbell that the guest maps, and nowhere without a mapping', async () => {
    const word = 'iommu-msi,interrupts=taken'
    const run = await runBehindIommu(word, { msi: 'translate' })
    expect(metrics(run, word)).toEqual({
      first: 1,
      unmapped: 0,
      faults: 1,
      reason: VIRTIO_IOMMU_FAULT_R_MAPPING,
      own: 1,
      offset: 0,
      again: 1,
    })
    expect(run.faults).toEqual([
      expect.objectContaining({ name: 'disk0', reason: 'mapping', access: 'write', address: DOORBELL_IOVA }),
    ])
    expect(run.findings).toEqual([])
  })
})

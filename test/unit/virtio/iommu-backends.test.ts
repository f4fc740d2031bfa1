/** What the driver is told of hardware that translates for endpoints. VIRTIO 1.2 §5.13.6. */
import { describe, expect, it } from 'vitest'
import { Outcome } from '../../../src/iommu/outcome.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { DISK, type IommuDevice, iommuDevice, MSI, NET } from '../../support/iommu-device.ts'
import { ModelBackend } from '../../support/model-backend.ts'

const [OK, UNSUPP, DEVERR, NOMEM] = [0, 2, 3, 8]
const READ = 1

interface Bench {
  readonly bench: IommuDevice
  readonly backend: ModelBackend
  readonly tellings: readonly string[]
}

/** "disk0" is hardware, in domain 1, which maps a page; `isOneGroup`: so is "net0", of the same group. */
function setUp(isOneGroup = false): Bench {
  const backend = new ModelBackend('group 7')
  const tellings: string[] = []
  const bench = iommuDevice({
    endpoints: [
      { id: DISK, name: 'disk0', reserved: [MSI], backend },
      { id: NET, name: 'net0', reserved: [MSI], ...(isOneGroup ? { backend } : {}) },
    ],
    warn: warning => tellings.push(warning),
    onFull: () => tellings.push('full'),
  })
  bench.probe(DISK)
  bench.attach(1, DISK)
  bench.map(1, 0x1000, 0x1fff, 0xa000, READ)
  return { bench, backend, tellings }
}

describe('VirtioIommu, with hardware behind it', () => {
  it.each([
    [Outcome.noMemory, NOMEM],
    [Outcome.deviceError, DEVERR],
    [Outcome.unsupported, UNSUPP],
  ])('answers outcome %d of the hardware to MAP with status %d, and maps nothing', (outcome, status) => {
    const { bench, backend } = setUp()
    backend.answer = () => outcome
    expect(bench.map(1, 0x2000, 0x2fff, 0xb000, READ).status).toBe(status)
    expect([bench.mappings(1).length, bench.canReach(DISK, 0x2000, Access.read), bench.broken]).toEqual([1, false, []])
  })

  it('does not call the IOMMU full when the hardware is', () => {
    const { bench, backend, tellings } = setUp()
    backend.limit = 1
    bench.map(1, 0x2000, 0x2fff, 0xb000, READ)
    expect(tellings).toEqual([expect.stringMatching(/^group 7: the host refuses a mapping/)])
  })

  it('answers DEVERR to an UNMAP that the hardware refuses, which then reaches nothing', () => {
    const { bench, backend } = setUp()
    backend.answer = () => Outcome.deviceError
    expect(bench.unmap(1, 0x1000, 0x1fff).status).toBe(DEVERR)
    expect([bench.mappings(1), backend.treatment, bench.broken]).toEqual([[], 'block', []])
  })

  it.each([
    [Outcome.noMemory, NOMEM],
    [Outcome.deviceError, DEVERR],
  ])('answers outcome %d of the hardware to ATTACH with status %d, and attaches nothing', (outcome, status) => {
    const { bench, backend } = setUp()
    backend.answer = () => outcome
    expect(bench.attach(2, DISK).status).toBe(status)
    expect([bench.domains, backend.content.length, bench.broken]).toEqual([[[1, [DISK]]], 1, []])
  })

  it('attaches devices of one host group to different domains, where neither reaches anything', () => {
    const { bench, backend } = setUp(true)
    expect([bench.attach(2, NET).status, backend.treatment]).toEqual([OK, 'block'])
    expect([bench.attach(1, NET).status, backend.treatment]).toEqual([OK, 'translate'])
  })

  it('15: gives hardware the mappings of the domain that it comes to', () => {
    const { bench, backend } = setUp()
    bench.attach(2, NET)
    bench.map(2, 0x5000, 0x6fff, 0xc000, READ)
    expect(bench.attach(2, DISK).status).toBe(OK)
    expect(backend.content).toEqual([{ start: 0x5000, end: 0x6fff, phys: 0xc000, flags: READ }])
  })

  it('47: tells of a fault that the host told', () => {
    const { bench } = setUp()
    const events = bench.harness.driver(1)
    events.add({ in: [24] })
    events.kick()
    bench.iommu.reportHostFault(DISK, { access: Access.write, address: 0x5000, detail: 'not present' })
    const [used] = events.pollAll()
    // struct virtio_iommu_fault: reason MAPPING, flags WRITE and ADDRESS, the endpoint, the address.
    const view = new DataView(used!.in[0]!.slice().buffer)
    expect([view.getUint8(0), view.getUint32(4, true), view.getUint32(8, true)]).toEqual([2, 0x102, DISK])
    expect(view.getBigUint64(16, true)).toBe(0x5000n)
  })
})

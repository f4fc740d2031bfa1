import { beforeEach, describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import type { Fault } from '../../../src/iommu/fault.ts'
import { Iommu } from '../../../src/iommu/iommu.ts'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { iommuCommand } from '../../../src/machine/iommu-commands.ts'
import { VirtioMemory } from '../../support/virtio-memory.ts'

const PAGE = 4096
const FINDING = { name: 'map-overlap' }

let iommu: Iommu
let faults: Fault[]
let tracing: boolean[]
let ask: (method: string, params?: Readonly<Record<string, unknown>>) => unknown
beforeEach(() => {
  iommu = new Iommu({
    memory: new VirtioMemory().memory,
    granule: PAGE,
    input: { start: 0, end: 2 ** 48 - 1 },
    domains: { start: 0, end: 255 },
    bypass: true,
    limits: { domain: 1000, total: 1000 },
    doorbells: [],
  })
  iommu.addEndpoint({ id: 0x08, name: 'disk0', reserved: [] })
  iommu.addEndpoint({ id: 0x100, name: 'net0+rng0', reserved: [] })
  faults = []
  iommu.onFault = fault => faults.push(fault)
  tracing = []
  const device = { findings: [FINDING], statistics: { maps: 7 } }
  const target = { iommu, device, setTracing: (on: boolean) => void tracing.push(on) }
  ask = (method, params = {}) => iommuCommand(target, method, params)
})

describe('iommuCommand', () => {
  it("gives the state with the device's counters", () => {
    expect(ask('iommuState')).toMatchObject({ granule: PAGE, endpoints: [{ id: 8 }, { id: 256 }], device: { maps: 7 } })
  })

  it('gives the findings', () => {
    expect(ask('iommuFindings')).toEqual([FINDING])
  })

  it('switches tracing', () => {
    ask('iommuTrace', { on: true })
    ask('iommuTrace', { on: false })
    expect(tracing).toEqual([true, false])
  })

  it('gives mappings in pieces', () => {
    iommu.attach(8, 1, false, () => {})
    for (const page of [1, 2, 5]) iommu.map(1, page * PAGE, page * PAGE + PAGE - 1, 0, MapFlag.read)
    const starts = (params: object) =>
      (ask('iommuMappings', { domain: 1, ...params }) as { start: number }[]).map(m => m.start)
    expect(starts({})).toEqual([0x1000, 0x2000, 0x5000])
    expect(starts({ limit: 2 })).toEqual([0x1000, 0x2000])
    expect(starts({ from: 0x2fff, limit: 2 })).toEqual([0x2000, 0x5000])
  })

  it.each([
    ['disk0', 0x08],
    ['8', 0x08],
    ['0x100', 0x100],
    [0x100, 0x100],
    ['net0+rng0', 0x100],
    ['rng0', 0x100],
  ])('finds the endpoint %s for a fault', (endpoint, id) => {
    ask('iommuFault', { endpoint, address: 0x5000, reason: 'domain', access: 'write' })
    expect(faults).toMatchObject([{ endpoint: id, address: 0x5000, reason: 1, access: 2 }])
  })

  it.each([
    ['iommuMappings', { domain: 1 }, 'the IOMMU has no domain 1'],
    ['iommuMappings', { domain: 'x' }, 'the IOMMU has no domain x'],
    ['iommuFault', { endpoint: 'disk1', address: 0 }, 'the IOMMU has no endpoint "disk1"'],
    ['iommuFault', { endpoint: 9, address: 0 }, 'the IOMMU has no endpoint "9"'],
    ['iommuFault', { endpoint: 'disk0' }, "a fault's address is a whole number below 2^53"],
    [
      'iommuFault',
      { endpoint: 'disk0', address: 0, reason: 'toString' },
      "a fault's reason is unknown, domain, mapping",
    ],
    ['iommuFault', { endpoint: 'disk0', address: 0, access: 'execute' }, "a fault's access is read, write"],
    ['iommuDance', {}, 'the IOMMU knows no request "iommuDance"'],
  ])('refuses %s %j', (method, params, message) => {
    expect(() => ask(method, params)).toThrow(BadInput)
    expect(() => ask(method, params)).toThrow(message)
  })

  it('refuses pieces of a strange size', () => {
    iommu.attach(8, 1, false, () => {})
    expect(() => ask('iommuMappings', { domain: 1, from: -1 })).toThrow('mappings are asked for by an address')
  })
})

import { describe, expect, it } from 'vitest'
import { FaultReason } from '../../../src/iommu/fault.ts'
import { MapFlag } from '../../../src/iommu/mapping-flags.ts'
import { Access } from '../../../src/memory/dma-space.ts'
import { attachedCore, DISK, iommuCore, MSI, NET } from '../../support/iommu-core.ts'

describe('Iommu.reportHostFault', () => {
  it('reports a fault that the host told of', () => {
    const { iommu, disk, faults, events } = attachedCore()
    const detail = 'PTE Read access is not set'
    expect(iommu.reportHostFault(DISK, { access: Access.read, address: 0x1234, detail })).toBe(true)
    const told = { endpoint: DISK, name: 'disk', source: 'host', detail }
    expect(faults).toEqual([{ ...told, reason: FaultReason.mapping, access: Access.read, address: 0x1234 }])
    const event = { type: 'fault', reason: 'mapping', access: 'read', address: '0x1234', domain: 1 }
    expect(events.at(-1)).toEqual({ ...told, ...event })
    expect([disk.faults, iommu.state().counters.faults]).toEqual([1, 1])
  })

  it('counts nothing when the host tells of an endpoint that is not there', () => {
    const { iommu } = attachedCore()
    expect(iommu.reportHostFault(99, { access: Access.read, address: 0 })).toBe(false)
    expect(iommu.state().counters.faults).toBe(0)
  })

  it.each([
    ['an address that is not mapped', 0x9000, Access.read, FaultReason.mapping],
    ['an access that the mapping does not allow', 0x5000, Access.write, FaultReason.mapping],
    ['both, where one is allowed', 0x5000, Access.read | Access.write, FaultReason.mapping],
    ['an access that the mapping allows', 0x5008, Access.read, FaultReason.unknown],
    ['a reserved address', MSI.start, Access.read, FaultReason.mapping],
  ])("finds the reason of a host's fault at %s", (_, address, access, reason) => {
    const { iommu, faults } = attachedCore()
    iommu.map(1, 0x5000, 0x5fff, 0x3000, MapFlag.read)
    iommu.reportHostFault(DISK, { access, address })
    expect(faults).toMatchObject([{ reason }])
  })

  it.each([
    [false, FaultReason.domain],
    [true, FaultReason.unknown],
  ])("finds the reason of a host's fault of an endpoint in no domain, with bypass %s", (bypass, reason) => {
    const { iommu, faults } = iommuCore({ bypass })
    iommu.reportHostFault(NET, { access: Access.read, address: 0x5000 })
    expect(faults).toMatchObject([{ reason }])
  })
})

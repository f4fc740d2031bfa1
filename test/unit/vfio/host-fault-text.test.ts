import { describe, expect, it } from 'vitest'
import { HostFaultText } from '../../../src/vfio/host-fault-text.ts'

/** What a log of these lines tells. */
function faultsOf(lines: readonly string[]) {
  const text = new HostFaultText()
  return lines.map(line => text.read(line)).filter(fault => fault !== undefined)
}

const SMMU_RAW = [
  'arm-smmu-v3 fc900000.iommu: event 0x10 received:',
  'arm-smmu-v3 fc900000.iommu: \t0x0000010000000010',
  'arm-smmu-v3 fc900000.iommu: \t0x0000020000000000',
  'arm-smmu-v3 fc900000.iommu: \t0x000000090000f040',
  'arm-smmu-v3 fc900000.iommu: \t0x0000000000000000',
]
const SMMU_FAULT = { address: '0000:01:00.0', access: 'write', iova: 0x9_0000_f040, reason: 'F_TRANSLATION' }

describe('HostFaultText', () => {
  it.each([
    [
      'Linux 6.1',
      'DMAR: [DMA Write NO_PASID] Request device [05:00.0] fault addr 0x69974000 [fault reason 0x05] PTE Write access is not set',
      { address: '0000:05:00.0', access: 'write', iova: 0x69974000, reason: 'PTE Write access is not set' },
    ],
    [
      'Linux 6.1',
      'DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x0 [fault reason 0x06] PTE Read access is not set',
      { address: '0000:00:02.0', access: 'read', iova: 0, reason: 'PTE Read access is not set' },
    ],
    [
      'Linux 6.1 with a PASID',
      'DMAR: [DMA Write PASID 0x1f] Request device [e7:02.1] fault addr 0x1234600000 [fault reason 0x71] SM: Present bit in first-level paging entry is clear',
      {
        address: '0000:e7:02.1',
        access: 'write',
        iova: 0x1234600000,
        reason: 'SM: Present bit in first-level paging entry is clear',
      },
    ],
    [
      'Linux 5.14',
      'DMAR: [DMA Write NO_PASID] Request device [0x04:0x00.0] fault addr 0x69974000 [fault reason 0x05] PTE Write access is not set',
      { address: '0000:04:00.0', access: 'write', iova: 0x69974000, reason: 'PTE Write access is not set' },
    ],
    [
      'Linux 5.10',
      'DMAR: [DMA Write] Request device [04:00.0] PASID ffffffff fault addr 69974000 [fault reason 05] PTE Write access is not set',
      { address: '0000:04:00.0', access: 'write', iova: 0x69974000, reason: 'PTE Write access is not set' },
    ],
    [
      'Linux 4.19',
      'DMAR: [DMA Read] Request device [82:00.1] fault addr ffb9c000 [fault reason 06] PTE Read access is not set',
      { address: '0000:82:00.1', access: 'read', iova: 0xffb9c000, reason: 'PTE Read access is not set' },
    ],
    [
      'a line of two',
      'DMAR:[DMA Write] Request device [00:02.0] fault addr 6df084000 \nDMAR:[fault reason 05] PTE Write access is not set',
      { address: '0000:00:02.0', access: 'write', iova: 0x6df084000, reason: 'PTE Write access is not set' },
    ],
  ])("reads a line of Intel's, %s", (_, line, fault) => {
    expect(faultsOf([line])).toEqual([fault])
  })

  it.each([
    [
      'xhci_hcd 0000:15:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0000 address=0x00000000fff50000 flags=0x0020]',
      {
        address: '0000:15:00.0',
        access: 'write',
        iova: 0xfff50000,
        reason: 'IO_PAGE_FAULT domain=0x0000 flags=0x0020',
      },
    ],
    [
      'vfio-pci 0001:05:00.0: Event logged [IO_PAGE_FAULT domain=0x0017 address=0x92050da0 flags=0x0000]',
      { address: '0001:05:00.0', access: 'read', iova: 0x92050da0, reason: 'IO_PAGE_FAULT domain=0x0017 flags=0x0000' },
    ],
    [
      'AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0013 address=0x0000000000001000 flags=0x0030]',
      { address: '0000:01:00.0', access: 'write', iova: 0x1000, reason: 'IO_PAGE_FAULT domain=0x0013 flags=0x0030' },
    ],
    [
      'AMD-Vi: Event logged [IO_PAGE_FAULT device=0002:01:00.1 domain=0x0013 address=0x1000 flags=0x0000]',
      { address: '0002:01:00.1', access: 'read', iova: 0x1000, reason: 'IO_PAGE_FAULT domain=0x0013 flags=0x0000' },
    ],
  ])("reads AMD's %s", (line, fault) => {
    expect(faultsOf([line])).toEqual([fault])
  })

  it('reads the numbers of an SMMU', () => {
    expect(faultsOf(SMMU_RAW)).toEqual([SMMU_FAULT])
  })

  it('tells of a fault once that an SMMU describes twice', () => {
    const words = [
      'arm-smmu-v3 fc900000.iommu: event: F_TRANSLATION client: 0000:01:00.0 sid: 0x100 ssid: 0x0 iova: 0x90000f040 ipa: 0x0',
      'arm-smmu-v3 fc900000.iommu: unpriv data write s1 "Input address caused fault" stag: 0x0',
    ]
    expect(faultsOf([...SMMU_RAW, ...words])).toEqual([SMMU_FAULT])
  })

  it('believes the words of an SMMU where its numbers name another device', () => {
    const lines = [
      'arm-smmu-v3 490d0000.iommu: event 0x10 received:',
      'arm-smmu-v3 490d0000.iommu:      0x0000001100000010',
      'arm-smmu-v3 490d0000.iommu:      0x0000020a00000000',
      'arm-smmu-v3 490d0000.iommu:      0x000000009b0cc000',
      'arm-smmu-v3 490d0000.iommu:      0x0000000000000000',
      'arm-smmu-v3 490d0000.iommu: event: F_TRANSLATION client: 0003:01:00.0 sid: 0x11 ssid: 0x0 iova: 0x9b0cc000 ipa: 0x0',
    ]
    expect(faultsOf(lines).at(-1)).toEqual({
      address: '0003:01:00.0',
      access: 'read',
      iova: 0x9b0cc000,
      reason: 'F_TRANSLATION',
    })
  })

  it('keeps the lines of two SMMUs apart', () => {
    const other = SMMU_RAW.map(line => line.replace('fc900000', 'fd900000').replace('0x00000100', '0x00000208'))
    const mixed = SMMU_RAW.flatMap((line, index) => [line, other[index] ?? ''])
    expect(faultsOf(mixed).map(({ address }) => address)).toEqual(['0000:01:00.0', '0000:02:01.0'])
  })

  it('takes no more than an event from the numbers of an SMMU', () => {
    expect(faultsOf([...SMMU_RAW, ...SMMU_RAW.slice(1)])).toEqual([SMMU_FAULT])
  })

  it('does not take words for those of an earlier event', () => {
    const words =
      'arm-smmu-v3 fc900000.iommu: event: F_TRANSLATION client: 0003:01:00.0 sid: 0x300 ssid: 0x0 iova: 0x1000 ipa: 0x0'
    expect(faultsOf([...SMMU_RAW, ...SMMU_RAW.slice(0, 3), words])).toEqual([SMMU_FAULT])
  })

  it('forgets an SMMU event whose lines were cut short', () => {
    expect(faultsOf([...SMMU_RAW.slice(0, 3), ...SMMU_RAW])).toEqual([SMMU_FAULT])
  })

  it.each([
    ['', ['']],
    ["an SMMU's command error", SMMU_RAW.map(line => line.replace('0x10 received', '0x02 received'))],
    ['a stream without a requester id', SMMU_RAW.map(line => line.replace('0x00000100', '0x00010100'))],
    ['numbers without a start', SMMU_RAW.slice(1)],
    [
      'an interrupt',
      [
        'DMAR: [INTR-REMAP] Request device [f0:1f.7] fault index 0x0 [fault reason 0x25] Blocked a compatibility format',
      ],
    ],
    ['an interrupt', ['AMD-Vi: Event logged [IO_PAGE_FAULT device=01:00.0 domain=0x0000 address=0xfdf8 flags=0x0008]']],
    [
      'another event',
      ['AMD-Vi: Event logged [INVALID_DEVICE_REQUEST device=00:00.0 pasid=0x00000 address=0xf flags=0x0a00]'],
    ],
    ['the status', ['DMAR: DRHD: handling fault status reg 2']],
    [
      'a program that quotes one',
      ['sshd: DMAR: [DMA Read NO_PASID] Request device [00:02.0] fault addr 0x0 [fault reason 0x06] PTE Read'],
    ],
  ])('finds nothing in %s', (_, lines) => {
    expect(faultsOf(lines)).toEqual([])
  })
})

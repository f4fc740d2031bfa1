import { describe, expect, it } from 'vitest'
import { iommuMap, iommuNode, iommusOf } from '../../../src/boot/iommu-nodes.ts'

const TOPOLOGY = {
  iommu: 0xf8,
  endpoints: [
    { id: 0x8, name: 'disk0', reserved: [] },
    { id: 0x9, name: 'disk1', reserved: [] },
    { id: 0x100, name: 'net0', reserved: [] },
    { id: 0x2_0000, name: 'dma0', reserved: [], base: 0x900_0000 },
  ],
}

describe('iommuNode', () => {
  it('is a PCI device node at the IOMMU', () => {
    expect(iommuNode(TOPOLOGY, 7)).toEqual({
      name: 'virtio_iommu@1f,0',
      properties: { compatible: 'pci1af4,1057', reg: [0xf800, 0, 0, 0, 0], '#iommu-cells': [1], phandle: [7] },
    })
  })

  it('stops on an IOMMU that is not on the root bus', () => {
    expect(() => iommuNode({ ...TOPOLOGY, iommu: 0x100 }, 1)).toThrow('on the root bus')
  })
})

describe('iommuMap', () => {
  it('names the requester IDs of the endpoints on PCI, and no others', () => {
    expect(iommuMap(TOPOLOGY, 7)).toEqual([0x8, 7, 0x8, 2, 0x100, 7, 0x100, 1])
  })
})

describe('iommusOf', () => {
  it.each([
    { base: 0x900_0000, iommus: [7, 0x2_0000] },
    { base: 0x901_0000, iommus: undefined },
  ])('gives $iommus for the device at $base', ({ base, iommus }) => {
    expect(iommusOf(TOPOLOGY, base, 7)).toEqual(iommus)
  })
})

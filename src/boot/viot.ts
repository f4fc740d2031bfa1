/**
 * Which devices are behind the virtio-iommu: the Virtual I/O Translation Table of ACPI 6.5 (https://uefi.org/acpi);
 * layouts and names as in linux/include/acpi/actbl3.h. Segment 0 only.
 */
import { assert } from '../base/errors.ts'
import { layout } from '../base/struct.ts'
import { setU64 } from '../base/u64.ts'
import { endpointRanges, type IommuTopology } from '../iommu/topology.ts'
import { newTable, SdtHeader, seal } from './acpi-table.ts'

const VIOT_REVISION = 0

const Viot = layout('VIOT', 48, { header: SdtHeader.size, nodeCount: 'u16', nodeOffset: 'u16', reserved: 8 })

const ACPI_VIOT_NODE_PCI_RANGE = 1
const ACPI_VIOT_NODE_MMIO = 2
const ACPI_VIOT_NODE_VIRTIO_IOMMU_PCI = 3

const Iommu = layout('acpi_viot_virtio_iommu_pci', 16, {
  type: 'u8',
  reserved: 'u8',
  length: 'u16',
  segment: 'u16',
  bdf: 'u16',
  reserved2: 8,
})

const PciRange = layout('acpi_viot_pci_range', 24, {
  type: 'u8',
  reserved: 'u8',
  length: 'u16',
  endpointStart: 'u32',
  segmentStart: 'u16',
  segmentEnd: 'u16',
  bdfStart: 'u16',
  bdfEnd: 'u16',
  outputNode: 'u16',
  reserved2: 6,
})

const Mmio = layout('acpi_viot_mmio', 24, {
  type: 'u8',
  reserved: 'u8',
  length: 'u16',
  endpoint: 'u32',
  baseAddress: 'u64',
  outputNode: 'u16',
  reserved2: 6,
})

/** The table for an IOMMU that is a PCI function. An endpoint's id is its requester ID, so ranges start at theirs. */
export function buildViot(topology: IommuTopology): Uint8Array {
  const ranges = endpointRanges(topology)
  const others = topology.endpoints.filter(({ base }) => base !== undefined)
  const iommu = Viot.size
  const view = newTable('VIOT', VIOT_REVISION, iommu + Iommu.size + (ranges.length + others.length) * PciRange.size)
  view.setUint16(Viot.offset.nodeCount, 1 + ranges.length + others.length, true)
  view.setUint16(Viot.offset.nodeOffset, iommu, true)

  let next = iommu
  const node = (type: number, size: number): number => {
    const at = next
    view.setUint8(at, type)
    view.setUint16(at + 2, size, true)
    next += size
    return at
  }
  const own = node(ACPI_VIOT_NODE_VIRTIO_IOMMU_PCI, Iommu.size)
  view.setUint16(own + Iommu.offset.bdf, topology.iommu, true)
  for (const { first, count } of ranges) {
    const at = node(ACPI_VIOT_NODE_PCI_RANGE, PciRange.size)
    view.setUint32(at + PciRange.offset.endpointStart, first, true)
    view.setUint16(at + PciRange.offset.bdfStart, first, true)
    view.setUint16(at + PciRange.offset.bdfEnd, first + count - 1, true)
    view.setUint16(at + PciRange.offset.outputNode, iommu, true)
  }
  for (const { id, base = 0 } of others) {
    const at = node(ACPI_VIOT_NODE_MMIO, Mmio.size)
    view.setUint32(at + Mmio.offset.endpoint, id, true)
    setU64(view, at + Mmio.offset.baseAddress, base)
    view.setUint16(at + Mmio.offset.outputNode, iommu, true)
  }
  assert(next === view.byteLength, 'the nodes fill the VIOT')
  return seal(view)
}

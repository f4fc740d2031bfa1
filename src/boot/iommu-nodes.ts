/**
 * The IOMMU in a device tree. It is a node below the PCI host bridge; the bridge's `iommu-map` names the functions
 * behind it, which the IOMMU itself is not, and devices that are not on PCI have `iommus`. Linux
 * Documentation/devicetree/bindings: virtio/pci-iommu.yaml, pci/pci-iommu.txt, iommu/iommu.txt.
 */
import { assert } from '../base/errors.ts'
import { endpointRanges, type IommuTopology } from '../iommu/topology.ts'
import type { FdtNode } from './fdt.ts'

/** Vendor and device ID of a virtio-iommu, PCI Bus Binding 2.1 §2.5. */
const COMPATIBLE = 'pci1af4,1057'

/** The node of the IOMMU; its bus is the one of the host bridge. */
export function iommuNode({ iommu }: IommuTopology, phandle: number): FdtNode {
  assert(iommu < 0x100, 'the IOMMU is on the root bus')
  return {
    name: `virtio_iommu@${(iommu >> 3).toString(16)},${iommu & 7}`,
    properties: {
      compatible: COMPATIBLE,
      // phys.hi of its configuration space: bits 23-16 the bus, 15-8 device and function.
      reg: [iommu << 8, 0, 0, 0, 0],
      '#iommu-cells': [1],
      phandle: [phandle],
    },
  }
}

/** `iommu-map` of the host bridge: first requester ID, IOMMU, first endpoint id, how many. */
export function iommuMap(topology: IommuTopology, phandle: number): readonly number[] {
  return endpointRanges(topology).flatMap(({ first, count }) => [first, phandle, first, count])
}

/** `iommus` of the device whose registers start at `base`; undefined: it is not behind the IOMMU. */
export function iommusOf({ endpoints }: IommuTopology, base: number, phandle: number): readonly number[] | undefined {
  const endpoint = endpoints.find(({ base: at }) => at === base)
  return endpoint === undefined ? undefined : [phandle, endpoint.id]
}

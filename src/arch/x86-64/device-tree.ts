/**
 * The x86-64 machine as a device tree. ACPI describes the machine; this is for guests that take the IOMMU's topology
 * from a device tree, so it has memory, processors and PCI, and no interrupts.
 */
import { cells64, type FdtNode, writeFdt } from '../../boot/fdt.ts'
import { iommuMap, iommuNode } from '../../boot/iommu-nodes.ts'
import type { IommuTopology } from '../../iommu/topology.ts'
import { ECAM_BUSES, ECAM_START, PCI_WINDOW_32, PCI_WINDOW_64, ramRanges } from './layout.ts'

const IOMMU_PHANDLE = 1
const ECAM_BUS_SIZE = 2 ** 20

/** phys.hi of a PCI address: the space, PCI Bus Binding 2.1 §2.2.1.1. */
const PciSpace = { memory32: 0x0200_0000, memory64: 0x0300_0000 } as const

export interface DeviceTreeInputs {
  readonly cpus: number
  /** Bytes of RAM. */
  readonly memory: number
  /** Of the machine's IOMMU, if it has one. */
  readonly topology?: IommuTopology
}

/** The blob. */
export function deviceTree({ cpus, memory, topology }: DeviceTreeInputs): Uint8Array {
  return writeFdt({
    name: '',
    properties: { '#address-cells': [2], '#size-cells': [2], compatible: 'bulkhead,x86-64', model: 'bulkhead' },
    children: [cpusNode(cpus), memoryNode(memory), pciNode(topology)],
  })
}

function cpusNode(cpus: number): FdtNode {
  return {
    name: 'cpus',
    properties: { '#address-cells': [1], '#size-cells': [0] },
    // Local APIC ids are vCPU indexes.
    children: Array.from({ length: cpus }, (_, id) => ({
      name: `cpu@${id.toString(16)}`,
      properties: { device_type: 'cpu', compatible: 'bulkhead,vcpu', reg: [id] },
    })),
  }
}

function memoryNode(memory: number): FdtNode {
  const reg = ramRanges(memory).flatMap(({ start, size }) => [...cells64(start), ...cells64(size)])
  return { name: 'memory@0', properties: { device_type: 'memory', reg } }
}

/** Without endpoints there is no such property: Linux refuses an empty one (of_map_id). */
function mapOf(topology: IommuTopology | undefined): FdtNode['properties'] {
  const map = topology === undefined ? [] : iommuMap(topology, IOMMU_PHANDLE)
  return map.length === 0 ? {} : { 'iommu-map': map }
}

function pciNode(topology: IommuTopology | undefined): FdtNode {
  const window = (space: number, { start, size }: { readonly start: number; readonly size: number }) => [
    space,
    ...cells64(start),
    ...cells64(start),
    ...cells64(size),
  ]
  return {
    name: `pcie@${ECAM_START.toString(16)}`,
    properties: {
      compatible: 'pci-host-ecam-generic',
      device_type: 'pci',
      '#address-cells': [3],
      '#size-cells': [2],
      reg: [...cells64(ECAM_START), ...cells64(ECAM_BUSES * ECAM_BUS_SIZE)],
      'bus-range': [0, ECAM_BUSES - 1],
      ranges: [...window(PciSpace.memory32, PCI_WINDOW_32), ...window(PciSpace.memory64, PCI_WINDOW_64)],
      'dma-coherent': true,
      ...mapOf(topology),
    },
    children: topology === undefined ? [] : [iommuNode(topology, IOMMU_PHANDLE)],
  }
}

/** The answer to PROBE: what a driver has to know of an endpoint. VIRTIO 1.2 §5.13.6.7, §5.13.6.8. */
import { setU64 } from '../base/u64.ts'
import type { ReservedRegion } from '../iommu/reserved-region.ts'

const VIRTIO_IOMMU_PROBE_T_RESV_MEM = 1

const VIRTIO_IOMMU_RESV_MEM_T_RESERVED = 0
const VIRTIO_IOMMU_RESV_MEM_T_MSI = 1

// struct virtio_iommu_probe_resv_mem: le16 type, le16 length, u8 subtype, u8 reserved[3], le64 start, le64 end.
const LENGTH = 2
const SUBTYPE = 4
const START = 8
const END = 16
/** Of the struct; its `length` leaves out the 4 bytes of type and length. */
export const RESV_MEM_SIZE = 24

/**
 * `probeSize` bytes of properties: one for each region, then zeros (§5.13.6.7.2). Undefined when they have no room, as
 * there is no way to tell only some.
 */
export function encodeProperties(regions: readonly ReservedRegion[], probeSize: number): Uint8Array | undefined {
  if (regions.length * RESV_MEM_SIZE > probeSize) return undefined
  const bytes = new Uint8Array(probeSize)
  const view = new DataView(bytes.buffer)
  for (const [index, { kind, start, end }] of regions.entries()) {
    const at = index * RESV_MEM_SIZE
    view.setUint16(at, VIRTIO_IOMMU_PROBE_T_RESV_MEM, true)
    view.setUint16(at + LENGTH, RESV_MEM_SIZE - 4, true)
    view.setUint8(at + SUBTYPE, kind === 'msi' ? VIRTIO_IOMMU_RESV_MEM_T_MSI : VIRTIO_IOMMU_RESV_MEM_T_RESERVED)
    setU64(view, at + START, start)
    setU64(view, at + END, end)
  }
  return bytes
}

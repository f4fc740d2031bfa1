/** A request to the IOMMU device as the trace has it. Made only while somebody traces. */
import type { RequestEvent, Untimed } from '../iommu/events.ts'
import {
  TYPE_NAMES,
  VIRTIO_IOMMU_T_ATTACH,
  VIRTIO_IOMMU_T_DETACH,
  VIRTIO_IOMMU_T_MAP,
  VIRTIO_IOMMU_T_PROBE,
  VIRTIO_IOMMU_T_UNMAP,
} from './iommu-protocol.ts'
import { type IommuRequest, PHYS_START, VIRT_END, VIRT_START } from './iommu-request.ts'

type Fields = Pick<RequestEvent, 'domain' | 'endpoint' | 'start' | 'end' | 'phys' | 'flags'>

/** The request with its fields, unless it is too short to have them all. */
export function requestEvent(request: IommuRequest): Untimed<RequestEvent> {
  const { seq, type, bytes } = request
  const isWhole = request.size >= (request.expectedSize ?? Number.POSITIVE_INFINITY)
  const name = TYPE_NAMES[type] ?? `0x${type.toString(16)}`
  return { type: 'request', seq, request: name, ...(isWhole ? fields(request) : {}), bytes }
}

function fields(request: IommuRequest): Fields {
  const { domain, endpoint } = request
  switch (request.type) {
    case VIRTIO_IOMMU_T_ATTACH:
      return { domain, endpoint, flags: request.attachFlags }
    case VIRTIO_IOMMU_T_DETACH:
      return { domain, endpoint }
    case VIRTIO_IOMMU_T_MAP:
      return { domain, ...range(request), phys: request.hex(PHYS_START), flags: request.mapFlags }
    case VIRTIO_IOMMU_T_UNMAP:
      return { domain, ...range(request) }
    case VIRTIO_IOMMU_T_PROBE:
      return { endpoint }
    default:
      return {}
  }
}

function range(request: IommuRequest): { readonly start: string; readonly end: string } {
  return { start: request.hex(VIRT_START), end: request.hex(VIRT_END) }
}

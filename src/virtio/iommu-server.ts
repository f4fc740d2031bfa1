/** Does what the requests to the IOMMU device ask for, up to their status. VIRTIO 1.2 §5.13.6. */
import type { Done, Iommu } from '../iommu/iommu.ts'
import type { Extents } from '../memory/extents.ts'
import type { DriverConduct } from './iommu-conduct.ts'
import type { Negotiated } from './iommu-negotiated.ts'
import { encodeProperties } from './iommu-properties.ts'
import {
  STATUS_OF,
  TAIL_SIZE,
  VIRTIO_IOMMU_ATTACH_F_BYPASS,
  VIRTIO_IOMMU_MAP_F_MMIO,
  VIRTIO_IOMMU_MAP_F_READ,
  VIRTIO_IOMMU_MAP_F_WRITE,
  VIRTIO_IOMMU_S_DEVERR,
  VIRTIO_IOMMU_S_INVAL,
  VIRTIO_IOMMU_S_NOENT,
  VIRTIO_IOMMU_S_OK,
  VIRTIO_IOMMU_T_ATTACH,
  VIRTIO_IOMMU_T_DETACH,
  VIRTIO_IOMMU_T_MAP,
  VIRTIO_IOMMU_T_PROBE,
  VIRTIO_IOMMU_T_UNMAP,
} from './iommu-protocol.ts'
import type { IommuRequest } from './iommu-request.ts'

/** In the place of a status: the request goes back unwritten. */
export const UNANSWERABLE = -1
/** In the place of a status: `done` is called with the outcome, or was. */
export const ASKED = -2

/** What requests are about, and who looks on. */
export interface RequestServerOptions {
  readonly iommu: Iommu
  readonly probeSize: number
  readonly conduct: DriverConduct
}

/** See above. */
export class RequestServer {
  private readonly iommu: Iommu
  private readonly probeSize: number
  private readonly conduct: DriverConduct
  private readonly zeros: Uint8Array
  private readonly tail = new Uint8Array(TAIL_SIZE)

  constructor({ iommu, probeSize, conduct }: RequestServerOptions) {
    this.iommu = iommu
    this.probeSize = probeSize
    this.conduct = conduct
    this.zeros = new Uint8Array(probeSize)
  }

  /** Says the status, UNANSWERABLE or ASKED. `writable` is where PROBE puts its properties. */
  serve(request: IommuRequest, negotiated: Negotiated, writable: Extents, done: Done): number {
    const expected = request.expectedSize
    // §5.13.6.2: what is not recognized (an empty request is of type 0) is not written; nor is what the driver did not
    // negotiate (§5.13.6.5, §5.13.6.6, §5.13.6.7).
    // §5.13.6: without a tail there is no place for a status.
    if (expected === undefined || !request.hasTail || !isAvailable(request.type, negotiated)) {
      this.conduct.unanswerable(request, negotiated)
      return UNANSWERABLE
    }
    this.conduct.look(request, negotiated)
    if (request.type === VIRTIO_IOMMU_T_PROBE) return this.probe(request, writable)
    return request.size < expected ? VIRTIO_IOMMU_S_INVAL : this.ask(request, negotiated, done)
  }

  /**
   * Writes the tail, and says the used length: what is written from the start of the device-writable part on (§2.7.8.2).
   */
  finish(request: IommuRequest, status: number, writable: Extents): number {
    this.tail[0] = status
    const offset = request.tailOffset(this.probeSize)
    const isWhole = request.room >= offset + TAIL_SIZE
    // §5.13.6.7.2: with too little room for properties there is only a status, at the end, and nothing in front of it.
    writable.write(isWhole ? offset : request.room - TAIL_SIZE, this.tail)
    return isWhole ? offset + TAIL_SIZE : 0
  }

  private ask(request: IommuRequest, negotiated: Negotiated, done: Done): number {
    switch (request.type) {
      case VIRTIO_IOMMU_T_ATTACH:
        return this.attach(request, negotiated, done)
      case VIRTIO_IOMMU_T_DETACH:
        // §5.13.6.4.2: whatever `reserved` is.
        this.iommu.detach(request.endpoint, request.domain, done)
        return ASKED
      case VIRTIO_IOMMU_T_MAP:
        return this.map(request, negotiated)
      default:
        return this.unmap(request, done)
    }
  }

  private attach(request: IommuRequest, { bypassConfig }: Negotiated, done: Done): number {
    const flags = request.attachFlags
    // §5.13.6.3.2, and §5.13.6.3: the only flag there is belongs to a feature.
    const known = bypassConfig ? VIRTIO_IOMMU_ATTACH_F_BYPASS : 0
    if (request.hasAttachReserved || (flags & ~known) !== 0) return VIRTIO_IOMMU_S_INVAL
    this.iommu.attach(request.endpoint, request.domain, flags !== 0, done)
    return ASKED
  }

  private map(request: IommuRequest, { mmio }: Negotiated): number {
    const flags = request.mapFlags
    // §5.13.6.5.2, and §5.13.6.5.1: the MMIO flag belongs to a feature.
    const known = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE | (mmio ? VIRTIO_IOMMU_MAP_F_MMIO : 0)
    if ((flags & ~known) !== 0) return VIRTIO_IOMMU_S_INVAL
    return STATUS_OF[this.iommu.map(request.domain, request.start, request.end, request.phys, flags)]
  }

  private unmap(request: IommuRequest, done: Done): number {
    // §5.13.6.6.2 allows this, and nothing is removed.
    if (request.hasUnmapReserved) return VIRTIO_IOMMU_S_INVAL
    const { start, end } = request
    const domain = this.iommu.domain(request.domain)
    const before = domain?.mappingCount
    this.iommu.unmap(request.domain, start, end, done)
    if (domain !== undefined && domain.mappingCount === before) this.conduct.removedNothing(request, domain)
    return ASKED
  }

  private probe(request: IommuRequest, writable: Extents): number {
    if (request.room < this.probeSize + TAIL_SIZE) return VIRTIO_IOMMU_S_INVAL
    if (request.size < (request.expectedSize as number)) return this.refuseProbe(VIRTIO_IOMMU_S_INVAL, writable)
    // §5.13.6.7.2: whatever `reserved` is.
    const endpoint = this.iommu.endpoint(request.endpoint)
    if (endpoint === undefined) return this.refuseProbe(VIRTIO_IOMMU_S_NOENT, writable)
    const properties = encodeProperties(endpoint.reserved, this.probeSize)
    if (properties === undefined) return this.refuseProbe(VIRTIO_IOMMU_S_DEVERR, writable)
    writable.write(0, properties)
    this.conduct.wasProbed(endpoint.id)
    return VIRTIO_IOMMU_S_OK
  }

  /** §5.13.6.7.2: what is not filled with properties is filled with zeros. */
  private refuseProbe(status: number, writable: Extents): number {
    writable.write(0, this.zeros)
    return status
  }
}

function isAvailable(type: number, { probe, mapUnmap }: Negotiated): boolean {
  if (type === VIRTIO_IOMMU_T_PROBE) return probe
  return mapUnmap || (type !== VIRTIO_IOMMU_T_MAP && type !== VIRTIO_IOMMU_T_UNMAP)
}

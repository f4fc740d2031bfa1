/**
 * Holds a driver's requests against the rules (iommu-findings.ts). What every request has to be looked at for is cheap;
 * why one was refused is found out afterwards, when the core's state is still what the request met.
 */
import type { Domain } from '../iommu/domain.ts'
import type { Iommu } from '../iommu/iommu.ts'
import type { IommuFindings, RuleName } from './iommu-findings.ts'
import type { Negotiated } from './iommu-negotiated.ts'
import {
  TAIL_SIZE,
  TYPE_NAMES,
  VIRTIO_IOMMU_ATTACH_F_BYPASS,
  VIRTIO_IOMMU_F_DOMAIN_RANGE,
  VIRTIO_IOMMU_F_INPUT_RANGE,
  VIRTIO_IOMMU_F_PROBE,
  VIRTIO_IOMMU_MAP_F_MMIO,
  VIRTIO_IOMMU_MAP_F_READ,
  VIRTIO_IOMMU_MAP_F_WRITE,
  VIRTIO_IOMMU_T_ATTACH,
  VIRTIO_IOMMU_T_DETACH,
  VIRTIO_IOMMU_T_MAP,
  VIRTIO_IOMMU_T_PROBE,
  VIRTIO_IOMMU_T_UNMAP,
} from './iommu-protocol.ts'
import { type IommuRequest, PHYS_START, VIRT_END, VIRT_START } from './iommu-request.ts'

const MAP_FLAGS = VIRTIO_IOMMU_MAP_F_READ | VIRTIO_IOMMU_MAP_F_WRITE | VIRTIO_IOMMU_MAP_F_MMIO

/** Guest-physical addresses have at most 52 bits. */
const PHYS_END = 2 ** 52 - 1

/** §5.13.3.1: a driver should accept these where they are on offer. */
const EXPECTED = [
  ['VIRTIO_IOMMU_F_INPUT_RANGE', VIRTIO_IOMMU_F_INPUT_RANGE],
  ['VIRTIO_IOMMU_F_DOMAIN_RANGE', VIRTIO_IOMMU_F_DOMAIN_RANGE],
  ['VIRTIO_IOMMU_F_PROBE', VIRTIO_IOMMU_F_PROBE],
] as const

/** Looks at one driver's requests. */
export class DriverConduct {
  /** Endpoints that were probed since the last reset. */
  private readonly probed = new Set<number>()
  private readonly granuleMask: number

  constructor(
    private readonly iommu: Iommu,
    private readonly probeSize: number,
    private readonly findings: IommuFindings,
  ) {
    this.granuleMask = iommu.options.granule - 1
  }

  /** The driver is ready. */
  start(offered: bigint, { features }: Negotiated): void {
    const declined = EXPECTED.filter(([, bit]) => (offered & ~features & bit) !== 0n).map(([name]) => name)
    if (declined.length > 0) this.findings.add('feature-declined', () => `the driver declines ${declined.join(', ')}`)
  }

  reset(): void {
    this.probed.clear()
  }

  /** Before a request whose type is known is served: what does not keep it from success. */
  look(request: IommuRequest, negotiated: Negotiated): void {
    const { type } = request
    if (request.hasHeadReserved) this.add(request, 'head-reserved', 'has head.reserved set')
    this.lookAtRoom(request)
    const expected = request.expectedSize as number
    if (request.size !== expected)
      this.add(request, 'request-size', `has ${request.size} bytes, ${expected} are needed`)
    // What is not there cannot break a rule.
    if (request.size < expected) return
    if (type === VIRTIO_IOMMU_T_PROBE) {
      if (request.hasProbeReserved) this.add(request, 'probe-reserved', 'has reserved set')
      return
    }
    if (negotiated.domainRange) this.lookAtDomain(request)
    if (type === VIRTIO_IOMMU_T_DETACH && request.hasDetachReserved)
      this.add(request, 'detach-reserved', 'has reserved set')
    else if (type === VIRTIO_IOMMU_T_ATTACH && negotiated.probe) this.lookAtProbed(request)
    else if (negotiated.inputRange && (type === VIRTIO_IOMMU_T_MAP || type === VIRTIO_IOMMU_T_UNMAP))
      this.lookAtInput(request)
  }

  /** An endpoint's properties were told. */
  wasProbed(endpoint: number): void {
    this.probed.add(endpoint)
  }

  /** A request that cannot be answered: its used length is 0. */
  unanswerable(request: IommuRequest, negotiated: Negotiated): void {
    const { type, expectedSize } = request
    if (request.size === 0) this.add(request, 'request-size', 'has no type')
    else if (expectedSize === undefined) this.add(request, 'unknown-type', 'is of no known type')
    else if (!request.hasTail) this.add(request, 'no-tail', `has ${request.room} bytes for the tail`)
    else if (type === VIRTIO_IOMMU_T_PROBE && !negotiated.probe)
      this.add(request, 'probe-not-negotiated', 'comes without VIRTIO_IOMMU_F_PROBE')
    else if (type === VIRTIO_IOMMU_T_MAP) this.add(request, 'map-not-negotiated', NO_MAP_UNMAP)
    else this.add(request, 'unmap-not-negotiated', NO_MAP_UNMAP)
  }

  /** An UNMAP removed no mapping. When it was refused, that is why, and `refused` sees to it. */
  removedNothing(request: IommuRequest, domain: Domain): void {
    const { start, end } = request
    if (domain.bypass || end < start || overlaps(domain, start, end)) return
    this.add(request, 'unmap-nothing', `of ${range(request)} in domain ${request.domain} meets no mapping`)
  }

  /** The answer to a request is not OK. Several rules may be broken at once. */
  refused(request: IommuRequest, negotiated: Negotiated): void {
    if (request.size < (request.expectedSize as number)) return
    const { type } = request
    if (type === VIRTIO_IOMMU_T_ATTACH) this.refusedAttach(request, negotiated)
    else if (type === VIRTIO_IOMMU_T_DETACH) this.refusedDetach(request)
    else if (type === VIRTIO_IOMMU_T_MAP) this.refusedMap(request, negotiated)
    else if (type === VIRTIO_IOMMU_T_UNMAP) this.refusedUnmap(request)
    else if (request.room >= this.probeSize + TAIL_SIZE) this.lookAtEndpoint(request)
  }

  private lookAtRoom(request: IommuRequest): void {
    const { room } = request
    const wanted = request.tailOffset(this.probeSize) + TAIL_SIZE
    if (room === wanted) return
    // §5.13.6.7.1: the size of properties MUST be probe_size.
    const rule = request.type === VIRTIO_IOMMU_T_PROBE ? 'probe-size' : 'request-size'
    this.add(request, rule, `has ${room} bytes for the answer, ${wanted} are needed`)
  }

  private lookAtDomain(request: IommuRequest): void {
    const { domain } = request
    const { start, end } = this.iommu.options.domains
    if (domain < start || domain > end)
      this.add(request, 'domain-range', `is about domain ${domain}, which is not in ${start}-${end}`)
  }

  private lookAtInput(request: IommuRequest): void {
    const { start, end } = this.iommu.options.input
    if (request.start < start || request.end > end) this.add(request, 'input-range', `is about ${range(request)}`)
  }

  private lookAtProbed(request: IommuRequest): void {
    const { endpoint } = request
    if (!this.probed.has(endpoint) && this.iommu.endpoint(endpoint) !== undefined)
      this.add(request, 'attach-unprobed', `is about endpoint ${hex(endpoint)}, which was not probed`)
  }

  /** Whether there is one. */
  private lookAtEndpoint(request: IommuRequest): boolean {
    const { endpoint } = request
    const exists = this.iommu.endpoint(endpoint) !== undefined
    if (!exists) this.add(request, 'unknown-endpoint', `is about endpoint ${hex(endpoint)}, which does not exist`)
    return exists
  }

  private refusedAttach(request: IommuRequest, { bypassConfig }: Negotiated): void {
    const { attachFlags: flags, endpoint, domain } = request
    const bypass = (flags & VIRTIO_IOMMU_ATTACH_F_BYPASS) !== 0
    if (request.hasAttachReserved) this.add(request, 'attach-reserved', 'has reserved set')
    if ((flags & ~VIRTIO_IOMMU_ATTACH_F_BYPASS) !== 0) this.add(request, 'attach-flags', `has flags ${hex(flags)}`)
    if (bypass && !bypassConfig)
      this.add(request, 'attach-bypass-not-negotiated', 'is for a bypass domain without VIRTIO_IOMMU_F_BYPASS_CONFIG')
    const present = this.iommu.domain(domain)
    if (!this.lookAtEndpoint(request) || present === undefined) return
    if (present.bypass !== bypass)
      this.add(
        request,
        'attach-bypass-mismatch',
        `${bypass ? 'has' : 'lacks'} the bypass flag, and domain ${domain} is ${present.bypass ? 'a' : 'no'} bypass domain`,
      )
    else if (this.meetsReserved(present, endpoint))
      this.add(
        request,
        'attach-reserved-region',
        `is to domain ${domain}, which maps reserved addresses of endpoint ${hex(endpoint)}`,
      )
  }

  private meetsReserved(domain: Domain, endpoint: number): boolean {
    const regions = this.iommu.endpoint(endpoint)?.reserved ?? []
    return regions.some(({ start, end }) => overlaps(domain, start, end))
  }

  private refusedDetach(request: IommuRequest): void {
    const { endpoint, domain } = request
    if (this.lookAtEndpoint(request) && this.iommu.endpoint(endpoint)?.domain?.id !== domain)
      this.add(
        request,
        'detach-wrong-domain',
        `is about endpoint ${hex(endpoint)}, which is not attached to domain ${domain}`,
      )
  }

  private refusedMap(request: IommuRequest, { mmio }: Negotiated): void {
    const { mapFlags: flags, start, end } = request
    const where = `of ${range(request)} to ${request.hex(PHYS_START)}`
    if ((flags & ~MAP_FLAGS) !== 0) this.add(request, 'map-flags', `has flags ${hex(flags)}`)
    if ((flags & VIRTIO_IOMMU_MAP_F_MMIO) !== 0 && !mmio)
      this.add(request, 'map-mmio-not-negotiated', 'has VIRTIO_IOMMU_MAP_F_MMIO without VIRTIO_IOMMU_F_MMIO')
    if (!request.isOrdered) this.add(request, 'map-order', `${where}: virt_end is not greater than virt_start`)
    const bits = request.low(VIRT_START) | request.low(PHYS_START) | (request.low(VIRT_END) + 1)
    if ((bits & this.granuleMask) !== 0) this.add(request, 'map-unaligned', `${where} is not aligned`)
    if (request.phys > PHYS_END - (end - start))
      this.add(request, 'map-phys', `${where} leads out of physical addresses`)
    const domain = this.lookAtTarget(request, 'map-no-domain', 'map-bypass-domain')
    if (domain === undefined) return
    if (overlaps(domain, start, end))
      this.add(request, 'map-overlap', `${where} overlaps a mapping in domain ${domain.id}`)
    const reserving = domain.endpoints.find(({ reserved }) =>
      reserved.some(region => start <= region.end && end >= region.start),
    )
    if (reserving !== undefined)
      this.add(request, 'map-reserved-region', `${where} overlaps a reserved region of ${reserving.name}`)
  }

  private refusedUnmap(request: IommuRequest): void {
    const { start, end } = request
    if (request.hasUnmapReserved) this.add(request, 'unmap-reserved', 'has reserved set')
    if (end < start) this.add(request, 'unmap-order', `of ${range(request)} ends before it starts`)
    const domain = this.lookAtTarget(request, 'unmap-no-domain', 'unmap-bypass-domain')
    if (domain === undefined || end < start) return
    if (splits(domain, start, end))
      this.add(request, 'unmap-split', `of ${range(request)} would split a mapping in domain ${domain.id}`)
  }

  /** The domain, if it can have mappings. */
  private lookAtTarget(request: IommuRequest, none: RuleName, bypass: RuleName): Domain | undefined {
    const { domain: id } = request
    const domain = this.iommu.domain(id)
    if (domain === undefined) this.add(request, none, `is about domain ${id}, which does not exist`)
    else if (domain.bypass) this.add(request, bypass, `is about domain ${id}, which is a bypass domain`)
    return domain?.bypass === true ? undefined : domain
  }

  private add(request: IommuRequest, rule: RuleName, text: string): void {
    this.findings.add(
      rule,
      () => `${TYPE_NAMES[request.type] ?? `a request of type ${hex(request.type)}`} ${text}`,
      request,
    )
  }
}

const NO_MAP_UNMAP = 'comes without VIRTIO_IOMMU_F_MAP_UNMAP'

function range(request: IommuRequest): string {
  return `${request.hex(VIRT_START)}-${request.hex(VIRT_END)}`
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}

function overlaps(domain: Domain, start: number, end: number): boolean {
  const [first] = domain.mappings(start, 1)
  return first !== undefined && first.start <= end
}

function splits(domain: Domain, start: number, end: number): boolean {
  const [first] = domain.mappings(start, 1)
  const [last] = domain.mappings(end, 1)
  return (first !== undefined && first.start < start) || (last !== undefined && last.start <= end && last.end > end)
}

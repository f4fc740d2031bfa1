/** Which of the IOMMU device's features the driver accepted: bigints are nothing to look at for every request. */
import {
  VIRTIO_IOMMU_F_BYPASS,
  VIRTIO_IOMMU_F_BYPASS_CONFIG,
  VIRTIO_IOMMU_F_DOMAIN_RANGE,
  VIRTIO_IOMMU_F_INPUT_RANGE,
  VIRTIO_IOMMU_F_MAP_UNMAP,
  VIRTIO_IOMMU_F_MMIO,
  VIRTIO_IOMMU_F_PROBE,
} from './iommu-protocol.ts'

/** See above. */
export class Negotiated {
  readonly inputRange: boolean
  readonly domainRange: boolean
  readonly mapUnmap: boolean
  readonly bypass: boolean
  readonly probe: boolean
  readonly mmio: boolean
  readonly bypassConfig: boolean

  constructor(readonly features: bigint) {
    const has = (feature: bigint) => (features & feature) !== 0n
    this.inputRange = has(VIRTIO_IOMMU_F_INPUT_RANGE)
    this.domainRange = has(VIRTIO_IOMMU_F_DOMAIN_RANGE)
    this.mapUnmap = has(VIRTIO_IOMMU_F_MAP_UNMAP)
    this.bypass = has(VIRTIO_IOMMU_F_BYPASS)
    this.probe = has(VIRTIO_IOMMU_F_PROBE)
    this.mmio = has(VIRTIO_IOMMU_F_MMIO)
    this.bypassConfig = has(VIRTIO_IOMMU_F_BYPASS_CONFIG)
  }
}

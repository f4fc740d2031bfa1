/** Feature negotiation. VIRTIO 1.2 §2.2: the device offers, the driver takes a subset, FEATURES_OK closes the matter. */
import {
  DEVICE_FEATURES,
  RING_FEATURES,
  VIRTIO_F_ACCESS_PLATFORM,
  VIRTIO_F_ORDER_PLATFORM,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
} from './features.ts'

const MASK_32 = 0xffff_ffffn

/** What the transport offers besides the device's own features. */
export interface FeatureOptions {
  /** An IOMMU is in front of the device. */
  readonly accessPlatform: boolean
  /** Packed queues are on offer. */
  readonly packed: boolean
}

/** What a device declares; see VirtioDevice. */
interface Declared {
  readonly features: bigint
  readonly transportFeatures?: bigint
  acceptFeatures?(features: bigint): boolean
}

/** The feature registers and the rules between them. */
export class FeatureNegotiation {
  readonly offered: bigint
  /** What the driver wrote. */
  private readonly wanted = new Uint32Array(2)
  /** What both sides agreed on, from FEATURES_OK on. */
  negotiated: bigint | undefined
  private readonly required: bigint

  constructor(
    private readonly device: Declared,
    { accessPlatform, packed }: FeatureOptions,
  ) {
    const platform = accessPlatform ? VIRTIO_F_ACCESS_PLATFORM : 0n
    // §6.1: a device may refuse a driver that would put other addresses than the platform's into its rings.
    this.required = VIRTIO_F_VERSION_1 | platform
    const rings = packed ? RING_FEATURES : RING_FEATURES & ~VIRTIO_F_RING_PACKED
    this.offered =
      this.required |
      VIRTIO_F_ORDER_PLATFORM |
      (rings & (device.transportFeatures ?? RING_FEATURES)) |
      (device.features & DEVICE_FEATURES)
  }

  /** device_feature: 32 bits of the offer. There is nothing above 64 bits. */
  readOffered(select: number): number {
    if (select > 1) return 0
    return Number((this.offered >> BigInt(32 * select)) & MASK_32)
  }

  /** driver_feature. */
  readWanted(select: number): number {
    return this.wanted[select] ?? 0
  }

  /** driver_feature: no more changes after FEATURES_OK (§3.1.1). */
  writeWanted(select: number, value: number): void {
    if (this.negotiated === undefined && select < this.wanted.length) this.wanted[select] = value
    // Bits above 64 are on nobody's offer; a driver that writes zeroes there does no harm.
  }

  /** The driver sets FEATURES_OK. Says why that is refused, or nothing. */
  accept(): string | undefined {
    const features = (BigInt(this.wanted[1] as number) << 32n) | BigInt(this.wanted[0] as number)
    const excess = features & ~this.offered
    if (excess !== 0n) return `the driver wants features 0x${excess.toString(16)}, which are not on offer`
    const missing = this.required & ~features
    if (missing !== 0n) return `the driver does not accept features 0x${missing.toString(16)}, which are required`
    if (this.device.acceptFeatures?.(features) === false)
      return `the device cannot work with features 0x${features.toString(16)}`
    this.negotiated = features
    return undefined
  }

  has(feature: bigint): boolean {
    return this.negotiated !== undefined && (this.negotiated & feature) !== 0n
  }

  reset(): void {
    this.wanted.fill(0)
    this.negotiated = undefined
  }
}

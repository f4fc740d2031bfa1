/** The virtio-iommu of a machine, as it is asked for. Ranges are inclusive. */

export interface IommuConfig {
  /** Devices behind it, by name; `all`: every one that can be. */
  readonly endpoints: 'all' | readonly string[]
  /** Smallest granule in bytes: a power of two from 4096 (the default) to 2^30. */
  readonly granule?: number
  /** Default: 0 to 2^48 - 1. At most 2^52 - 1. */
  readonly input?: { readonly start: number; readonly end: number }
  /** Default: 0 to 2^32 - 1. */
  readonly domains?: { readonly start: number; readonly end: number }
  /** What endpoints in no domain may do when the machine starts: all (the default), or nothing. */
  readonly bypass?: boolean
  /**
   * Offers VIRTIO_IOMMU_F_BYPASS in place of VIRTIO_IOMMU_F_BYPASS_CONFIG, as drivers before Linux 5.19 know it; `bypass`
   * is left out then, as only a driver that accepts the feature lets endpoints pass.
   */
  readonly legacyBypass?: boolean
  /** Bytes of a PROBE reply's properties, or 0: PROBE is not on offer. Default: 512. */
  readonly probeSize?: number
  /** Offers VIRTIO_IOMMU_F_MMIO. Default: true. */
  readonly mmio?: boolean
  /** `reserve` (the default): writes to the doorbells' own addresses are MSIs. `translate`: the guest maps them. */
  readonly msi?: 'reserve' | 'translate'
  /** Further reserved regions, of one device or of all. */
  readonly reserved?: readonly { readonly device?: string; readonly start: number; readonly end: number }[]
  /** The most mappings in a domain, and in all. Default: 2^20 each. */
  readonly limits?: { readonly domain?: number; readonly total?: number }
  /** How the guest learns of it: ACPI (the default), a device tree, or both. */
  readonly topology?: 'acpi' | 'dt' | 'both'
}

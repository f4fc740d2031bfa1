/**
 * A host's PCI device for the guest, as it is configured. Apart from vfio.ts so that the command line can use it without
 * loading what opens devices.
 */

/** See above. */
export interface VfioConfig {
  readonly kind: 'vfio'
  /** Its address on the host with the domain, "0000:00:10.0". */
  readonly address: string
  /** Expansion ROM: the device's own (the default), none, or a file's. */
  readonly rom?: { readonly file: string } | 'none'
  /** Binds the device to vfio-pci at the start, and gives it back to its former driver at the end. */
  readonly bind?: boolean
  /** Its IOMMU group, where the machine is planned on another host than it runs on; absent: as sysfs says. */
  readonly hostGroup?: number
}

/**
 * A range of I/O virtual addresses that is not the driver's to map, for one endpoint. VIRTIO 1.2 §5.13.6.8.1.
 *
 * `reserved`: accesses are faults. `msi`: writes are message-signalled interrupts, and are not translated.
 */
export interface ReservedRegion {
  readonly kind: 'reserved' | 'msi'
  readonly start: number
  /** Inclusive. */
  readonly end: number
}

/**
 * What a passed-through device's memory is put into: the guest's physical address space. The machine implements it with
 * KVM's memory slots.
 */

/** See above. */
export interface GuestSpace {
  /**
   * Lets the guest reach host memory at `guestAddress` without an exit; all three are multiples of the page size. Throws
   * `SysError`.
   */
  map(guestAddress: number, size: number, hostAddress: number): void
  /** Undoes the `map` of that address. */
  unmap(guestAddress: number): void
}

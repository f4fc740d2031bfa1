/** A passed-through device between threads: plain data and descriptors, which the main thread opens and closes. */

/** An inclusive range. */
export interface IovaRange {
  readonly start: number
  readonly end: number
}

/** What the host's IOMMU can, for one container (VFIO_IOMMU_GET_INFO). */
export interface ContainerInfo {
  /** Sizes of pages: a bit each, of those below 2^53. */
  readonly pageSizes: number
  /** Addresses that can be mapped, by rising address, apart from each other. `end` is at most 2^53 - 1. */
  readonly usable: readonly IovaRange[]
  /** The most mappings at a time (VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL); undefined: the host names none. */
  readonly limit: number | undefined
}

/** One device with its group; devices of a group share container and group. */
export interface VfioPlan {
  /** Host address, "0000:00:10.0". */
  readonly address: string
  readonly group: number
  readonly containerFd: number
  readonly groupFd: number
  readonly deviceFd: number
  readonly info: ContainerInfo
  /** Expansion ROM: the device's own, none, or the bytes of a file. */
  readonly rom: 'device' | 'none' | Uint8Array
}

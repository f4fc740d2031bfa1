/** The host's table of what a group's devices can reach: `Container` (container.ts) is the kernel's. */
import type { ContainerInfo } from './plan.ts'

/**
 * See above. Addresses and sizes are multiples of the smallest page. It has the rules of VFIO's type 1 v2: a mapping
 * never overlaps another, and is unmapped whole.
 */
export interface DmaPort {
  readonly info: ContainerInfo
  /** Maps memory of this process; `flags` are VFIO_DMA_MAP_FLAG_*. 0, or a negative errno. */
  map(iova: number, size: number, hostAddress: number, flags: number): number
  /** Unmaps every mapping that lies in the range: their bytes, or a negative errno. */
  unmap(iova: number, size: number): number
}

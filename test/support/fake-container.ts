/** A container in memory, with the rules of the kernel's VFIO type 1 v2 (drivers/vfio/vfio_iommu_type1.c). */
import { EEXIST, EINVAL, ENOMEM, ENOSPC } from '../../src/host/errno.ts'
import type { DmaPort } from '../../src/vfio/dma-port.ts'
import type { ContainerInfo } from '../../src/vfio/plan.ts'
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from '../../src/vfio/uapi.ts'

const PAGE = 4096
const ACCESS = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE

/** As the rig has it: 39 bits, without the MSI region. */
export const FAKE_INFO: ContainerInfo = {
  pageSizes: 0x4020_1000,
  usable: [
    { start: 0, end: 0xfedf_ffff },
    { start: 0xfef0_0000, end: 2 ** 39 - 1 },
  ],
  limit: 64,
}

interface Entry {
  readonly size: number
  readonly hostAddress: number
  readonly flags: number
}

/** See above. */
export class FakeContainer implements DmaPort {
  readonly entries = new Map<number, Entry>()
  /** How many bytes may be mapped. */
  lockable = Number.POSITIVE_INFINITY
  /** Errors for the calls to come, whatever they ask for; 0: that call succeeds. */
  mapErrors: number[] = []
  unmapErrors: number[] = []
  calls = 0

  constructor(readonly info: ContainerInfo = FAKE_INFO) {}

  map(iova: number, size: number, hostAddress: number, flags: number): number {
    this.calls++
    const error = this.mapErrors.shift() ?? 0
    if (error !== 0) return -error
    if (size === 0 || [iova, size, hostAddress].some(value => value % PAGE !== 0)) return -EINVAL
    if (flags === 0 || (flags & ~ACCESS) !== 0) return -EINVAL
    if (this.overlapping(iova, iova + size).length > 0) return -EEXIST
    if (this.info.limit !== undefined && this.entries.size >= this.info.limit) return -ENOSPC
    if (!this.info.usable.some(({ start, end }) => iova >= start && iova + size - 1 <= end)) return -EINVAL
    if (this.bytes + size > this.lockable) return -ENOMEM
    this.entries.set(iova, { size, hostAddress, flags })
    return 0
  }

  unmap(iova: number, size: number): number {
    this.calls++
    const error = this.unmapErrors.shift() ?? 0
    if (error !== 0) return -error
    if (size === 0 || iova % PAGE !== 0 || size % PAGE !== 0) return -EINVAL
    const touched = this.overlapping(iova, iova + size)
    if (touched.some(([at, entry]) => at < iova || at + entry.size > iova + size)) return -EINVAL
    for (const [at] of touched) this.entries.delete(at)
    return touched.reduce((sum, [, entry]) => sum + entry.size, 0)
  }

  get bytes(): number {
    return [...this.entries.values()].reduce((sum, { size }) => sum + size, 0)
  }

  /** "iova+size>host flags" in hex, by rising address. */
  get list(): readonly string[] {
    return [...this.entries]
      .sort(([a], [b]) => a - b)
      .map(([iova, { size, hostAddress, flags }]) => `${hex(iova)}+${hex(size)}>${hex(hostAddress)} ${flags}`)
  }

  private overlapping(start: number, end: number): readonly (readonly [number, Entry])[] {
    return [...this.entries].filter(([at, { size }]) => at < end && at + size > start)
  }
}

function hex(value: number): string {
  return value.toString(16)
}

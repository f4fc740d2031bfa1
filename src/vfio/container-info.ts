/** What a container can map, from VFIO_IOMMU_GET_INFO (linux/vfio.h, struct vfio_iommu_type1_info). */
import { getU64 } from '../base/u64.ts'
import { findCapability } from './info.ts'
import type { ContainerInfo, IovaRange } from './plan.ts'
import * as s from './structs.ts'
import * as v from './uapi.ts'

const TWO_32 = 2 ** 32
/** The high word's bits of numbers below 2^53. */
const HIGH_BITS = 0x1f_ffff
const LAST_ADDRESS = 2 ** 53 - 1
const DEFAULT_PAGE_SIZES = 4096

/** See above; `view` is what the kernel filled in. */
export function parseContainerInfo(view: DataView): ContainerInfo {
  const { offset } = s.vfio_iommu_type1_info
  const flags = view.getUint32(offset.flags, true)
  const first = (flags & v.VFIO_IOMMU_INFO_CAPS) === 0 ? 0 : view.getUint32(offset.capOffset, true)
  const sizes = offset.iovaPgsizes
  const pageSizes = (view.getUint32(sizes + 4, true) & HIGH_BITS) * TWO_32 + view.getUint32(sizes, true)
  return {
    pageSizes: (flags & v.VFIO_IOMMU_INFO_PGSIZES) === 0 || pageSizes === 0 ? DEFAULT_PAGE_SIZES : pageSizes,
    usable: parseRanges(view, first),
    limit: parseLimit(view, first),
  }
}

/** The smallest of `ContainerInfo.pageSizes`: what everything that is mapped is a multiple of. */
export function smallestPage(pageSizes: number): number {
  let size = 1
  while (pageSizes % (size * 2) === 0) size *= 2
  return size
}

/** Kernels before 5.4 do not tell: then all addresses. */
function parseRanges(view: DataView, first: number): readonly IovaRange[] {
  const header = s.vfio_iommu_type1_info_cap_iova_range
  const { size, offset } = s.vfio_iova_range
  const at = findCapability(view, first, v.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, header.size)
  if (at === undefined) return [{ start: 0, end: LAST_ADDRESS }]
  const list = at + header.size
  const count = Math.min(view.getUint32(at + header.offset.nrIovas, true), Math.floor((view.byteLength - list) / size))
  return Array.from({ length: count }, (_, index) => ({
    start: getU64(view, list + index * size + offset.start),
    end: Math.min(getU64(view, list + index * size + offset.end), LAST_ADDRESS),
  })).filter(({ start, end }) => start <= end)
}

/** As it is while nothing is mapped: then what is available is all there is. */
function parseLimit(view: DataView, first: number): number | undefined {
  const { size, offset } = s.vfio_iommu_type1_info_dma_avail
  const at = findCapability(view, first, v.VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, size)
  return at === undefined ? undefined : view.getUint32(at + offset.avail, true)
}

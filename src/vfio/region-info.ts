/** A device's regions and interrupts from VFIO's INFO structs (linux/vfio.h). */
import { getU64 } from '../base/u64.ts'
import type { VfioIrq, VfioRegion } from './device.ts'
import { findCapability } from './info.ts'
import * as s from './structs.ts'
import * as v from './uapi.ts'

/** mmap works in pages of the host. */
const PAGE_SIZE = 4096
const NOTHING = { flags: 0, size: 0, mappable: [], offset: 0 } as const

/** A region, and where it lies in the device's file. */
export interface PlacedRegion extends VfioRegion {
  readonly offset: number
}

/** From struct vfio_region_info; undefined: the kernel knows no such region of this device. */
export function parseRegion(index: number, view: DataView | undefined): PlacedRegion {
  if (view === undefined) return { index, ...NOTHING }
  const { offset } = s.vfio_region_info
  const size = getU64(view, offset.size)
  const flags = view.getUint32(offset.flags, true)
  const mappable = size === 0 || (flags & v.VFIO_REGION_INFO_FLAG_MMAP) === 0 ? [] : parseAreas(view, flags, size)
  return { index, size, flags, mappable, offset: getU64(view, offset.offset) }
}

/** From struct vfio_irq_info; undefined: the device has none of this kind. */
export function parseIrq(index: number, view: DataView | undefined): VfioIrq {
  if (view === undefined) return { index, count: 0, flags: 0 }
  const { offset } = s.vfio_irq_info
  return { index, count: view.getUint32(offset.count, true), flags: view.getUint32(offset.flags, true) }
}

/**
 * The areas of VFIO_REGION_INFO_CAP_SPARSE_MMAP, or all of the region. A region of less than a page that may be mapped
 * has the page for itself (vfio_pci_core sets the rest of it aside).
 */
function parseAreas(view: DataView, flags: number, regionSize: number): VfioRegion['mappable'] {
  const first =
    (flags & v.VFIO_REGION_INFO_FLAG_CAPS) === 0 ? 0 : view.getUint32(s.vfio_region_info.offset.capOffset, true)
  const header = s.vfio_region_info_cap_sparse_mmap
  const at = findCapability(view, first, v.VFIO_REGION_INFO_CAP_SPARSE_MMAP, header.size)
  if (at === undefined) return [{ offset: 0, size: Math.ceil(regionSize / PAGE_SIZE) * PAGE_SIZE }]
  const { size, offset } = s.vfio_region_sparse_mmap_area
  const list = at + header.size
  const count = Math.min(view.getUint32(at + header.offset.nrAreas, true), Math.floor((view.byteLength - list) / size))
  return Array.from({ length: count }, (_, index) =>
    wholePages(getU64(view, list + index * size + offset.offset), getU64(view, list + index * size + offset.size)),
  )
    .filter(area => area.size > 0)
    .sort((a, b) => a.offset - b.offset)
}

function wholePages(offset: number, size: number): { readonly offset: number; readonly size: number } {
  const start = Math.ceil(offset / PAGE_SIZE) * PAGE_SIZE
  return { offset: start, size: Math.floor((offset + size) / PAGE_SIZE) * PAGE_SIZE - start }
}

/** Layouts of the VFIO uapi structs (linux/vfio.h), without implicit padding. What follows a header is named with it. */
import { layout } from '../base/struct.ts'

/** Links the capabilities behind an INFO struct: `next` counts from the struct's start, 0 ends the chain. */
export const vfio_info_cap_header = layout('vfio_info_cap_header', 8, { id: 'u16', version: 'u16', next: 'u32' })

export const vfio_group_status = layout('vfio_group_status', 8, { argsz: 'u32', flags: 'u32' })

export const vfio_device_info = layout('vfio_device_info', 20, {
  argsz: 'u32',
  flags: 'u32',
  numRegions: 'u32',
  numIrqs: 'u32',
  capOffset: 'u32',
})

export const vfio_region_info = layout('vfio_region_info', 32, {
  argsz: 'u32',
  flags: 'u32',
  index: 'u32',
  capOffset: 'u32',
  size: 'u64',
  offset: 'u64',
})

/** `nrAreas` areas follow. */
export const vfio_region_info_cap_sparse_mmap = layout('vfio_region_info_cap_sparse_mmap', 16, {
  header: 8,
  nrAreas: 'u32',
  reserved: 'u32',
})

export const vfio_region_sparse_mmap_area = layout('vfio_region_sparse_mmap_area', 16, { offset: 'u64', size: 'u64' })

export const vfio_irq_info = layout('vfio_irq_info', 16, {
  argsz: 'u32',
  flags: 'u32',
  index: 'u32',
  count: 'u32',
})

/** `count` eventfds of 32 bits follow, or nothing. */
export const vfio_irq_set = layout('vfio_irq_set', 20, {
  argsz: 'u32',
  flags: 'u32',
  index: 'u32',
  start: 'u32',
  count: 'u32',
})

/** `count` devices follow. */
export const vfio_pci_hot_reset_info = layout('vfio_pci_hot_reset_info', 12, {
  argsz: 'u32',
  flags: 'u32',
  count: 'u32',
})

export const vfio_pci_dependent_device = layout('vfio_pci_dependent_device', 8, {
  groupId: 'u32',
  segment: 'u16',
  bus: 'u8',
  devfn: 'u8',
})

/** `count` descriptors of groups follow. */
export const vfio_pci_hot_reset = layout('vfio_pci_hot_reset', 12, { argsz: 'u32', flags: 'u32', count: 'u32' })

/** The last four bytes are padding of the compiler's, which newer headers name. */
export const vfio_iommu_type1_info = layout('vfio_iommu_type1_info', 24, {
  argsz: 'u32',
  flags: 'u32',
  iovaPgsizes: 'u64',
  capOffset: 'u32',
  pad: 4,
})

/** `nrIovas` ranges follow. */
export const vfio_iommu_type1_info_cap_iova_range = layout('vfio_iommu_type1_info_cap_iova_range', 16, {
  header: 8,
  nrIovas: 'u32',
  reserved: 'u32',
})

/** `end` is inclusive. */
export const vfio_iova_range = layout('vfio_iova_range', 16, { start: 'u64', end: 'u64' })

export const vfio_iommu_type1_info_dma_avail = layout('vfio_iommu_type1_info_dma_avail', 12, {
  header: 8,
  avail: 'u32',
})

export const vfio_iommu_type1_dma_map = layout('vfio_iommu_type1_dma_map', 32, {
  argsz: 'u32',
  flags: 'u32',
  vaddr: 'u64',
  iova: 'u64',
  size: 'u64',
})

export const vfio_iommu_type1_dma_unmap = layout('vfio_iommu_type1_dma_unmap', 24, {
  argsz: 'u32',
  flags: 'u32',
  iova: 'u64',
  size: 'u64',
})

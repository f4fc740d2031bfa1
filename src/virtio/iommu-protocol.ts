/** The IOMMU device's wire format. VIRTIO 1.2 §5.13; the names are those of linux/virtio_iommu.h. */
import { setU64 } from '../base/u64.ts'
import type { Range } from '../iommu/iommu.ts'
import { Outcome } from '../iommu/outcome.ts'

export const VIRTIO_IOMMU_F_INPUT_RANGE = 1n << 0n
export const VIRTIO_IOMMU_F_DOMAIN_RANGE = 1n << 1n
export const VIRTIO_IOMMU_F_MAP_UNMAP = 1n << 2n
export const VIRTIO_IOMMU_F_BYPASS = 1n << 3n
export const VIRTIO_IOMMU_F_PROBE = 1n << 4n
export const VIRTIO_IOMMU_F_MMIO = 1n << 5n
export const VIRTIO_IOMMU_F_BYPASS_CONFIG = 1n << 6n

export const VIRTIO_IOMMU_T_ATTACH = 0x01
export const VIRTIO_IOMMU_T_DETACH = 0x02
export const VIRTIO_IOMMU_T_MAP = 0x03
export const VIRTIO_IOMMU_T_UNMAP = 0x04
export const VIRTIO_IOMMU_T_PROBE = 0x05

export const VIRTIO_IOMMU_S_OK = 0x00
export const VIRTIO_IOMMU_S_IOERR = 0x01
export const VIRTIO_IOMMU_S_UNSUPP = 0x02
export const VIRTIO_IOMMU_S_DEVERR = 0x03
export const VIRTIO_IOMMU_S_INVAL = 0x04
export const VIRTIO_IOMMU_S_RANGE = 0x05
export const VIRTIO_IOMMU_S_NOENT = 0x06
export const VIRTIO_IOMMU_S_FAULT = 0x07
export const VIRTIO_IOMMU_S_NOMEM = 0x08

export const VIRTIO_IOMMU_ATTACH_F_BYPASS = 1 << 0

export const VIRTIO_IOMMU_MAP_F_READ = 1 << 0
export const VIRTIO_IOMMU_MAP_F_WRITE = 1 << 1
export const VIRTIO_IOMMU_MAP_F_MMIO = 1 << 2

export const VIRTIO_IOMMU_FAULT_F_READ = 1 << 0
export const VIRTIO_IOMMU_FAULT_F_WRITE = 1 << 1
export const VIRTIO_IOMMU_FAULT_F_ADDRESS = 1 << 8

/** struct virtio_iommu_req_head: u8 type, u8 reserved[3]. */
export const HEAD_SIZE = 4
/** struct virtio_iommu_req_tail: u8 status, u8 reserved[3]. */
export const TAIL_SIZE = 4
/** struct virtio_iommu_fault. */
export const FAULT_SIZE = 24

/** Bytes of the device-readable part by type; undefined: there is no such request. */
export const READABLE_SIZES: readonly (number | undefined)[] = [undefined, 20, 20, 36, 28, 72]
/** Names of the types, for people. */
export const TYPE_NAMES: readonly (string | undefined)[] = [undefined, 'ATTACH', 'DETACH', 'MAP', 'UNMAP', 'PROBE']
/** Names of the statuses. */
export const STATUS_NAMES = ['OK', 'IOERR', 'UNSUPP', 'DEVERR', 'INVAL', 'RANGE', 'NOENT', 'FAULT', 'NOMEM'] as const

/** Statuses by `Outcome`. */
export const STATUS_OF: Readonly<Record<Outcome, number>> = {
  [Outcome.ok]: VIRTIO_IOMMU_S_OK,
  [Outcome.invalid]: VIRTIO_IOMMU_S_INVAL,
  [Outcome.range]: VIRTIO_IOMMU_S_RANGE,
  [Outcome.noEntry]: VIRTIO_IOMMU_S_NOENT,
  [Outcome.noMemory]: VIRTIO_IOMMU_S_NOMEM,
  [Outcome.unsupported]: VIRTIO_IOMMU_S_UNSUPP,
  [Outcome.deviceError]: VIRTIO_IOMMU_S_DEVERR,
}

// struct virtio_iommu_config, §5.13.4: le64 page_size_mask, le64 input_range[2], le32 domain_range[2], le32 probe_size,
// u8 bypass, u8 reserved[3].
const PAGE_SIZE_MASK = 0
const INPUT_RANGE = 8
const DOMAIN_RANGE = 24
const PROBE_SIZE = 32
export const CONFIG_BYPASS = 36
export const CONFIG_SIZE = 40

/** Sizes that a mapping table has entries for. */
const LARGE_PAGES = [2 ** 21, 2 ** 30]

/** What the configuration space tells, `bypass` apart. */
export interface IommuConfigSpace {
  readonly granule: number
  readonly input: Range
  readonly domains: Range
  readonly probeSize: number
}

/** struct virtio_iommu_config. */
export function encodeIommuConfig({ granule, input, domains, probeSize }: IommuConfigSpace): Uint8Array {
  const bytes = new Uint8Array(CONFIG_SIZE)
  const view = new DataView(bytes.buffer)
  // §5.13.6: the lowest bit is the granule, the others are hints. Not all of them are set, as drivers take every one for
  // a reason to split a mapping there.
  const sizes = [granule, ...LARGE_PAGES.filter(size => size > granule)]
  setU64(
    view,
    PAGE_SIZE_MASK,
    sizes.reduce((mask, size) => mask + size, 0),
  )
  setU64(view, INPUT_RANGE, input.start)
  setU64(view, INPUT_RANGE + 8, input.end)
  view.setUint32(DOMAIN_RANGE, domains.start, true)
  view.setUint32(DOMAIN_RANGE + 4, domains.end, true)
  view.setUint32(PROBE_SIZE, probeSize, true)
  return bytes
}

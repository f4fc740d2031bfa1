/** The block device's wire format. VIRTIO 1.2 §5.2; the names are those of linux/virtio_blk.h. */

export const VIRTIO_BLK_F_SEG_MAX = 1n << 2n
export const VIRTIO_BLK_F_RO = 1n << 5n
export const VIRTIO_BLK_F_BLK_SIZE = 1n << 6n
export const VIRTIO_BLK_F_FLUSH = 1n << 9n
export const VIRTIO_BLK_F_TOPOLOGY = 1n << 10n
export const VIRTIO_BLK_F_CONFIG_WCE = 1n << 11n
export const VIRTIO_BLK_F_MQ = 1n << 12n
export const VIRTIO_BLK_F_DISCARD = 1n << 13n
export const VIRTIO_BLK_F_WRITE_ZEROES = 1n << 14n

export const VIRTIO_BLK_T_IN = 0
export const VIRTIO_BLK_T_OUT = 1
export const VIRTIO_BLK_T_FLUSH = 4
export const VIRTIO_BLK_T_GET_ID = 8
export const VIRTIO_BLK_T_DISCARD = 11
export const VIRTIO_BLK_T_WRITE_ZEROES = 13

export const VIRTIO_BLK_S_OK = 0
export const VIRTIO_BLK_S_IOERR = 1
export const VIRTIO_BLK_S_UNSUPP = 2

/** Length of the answer to VIRTIO_BLK_T_GET_ID. */
export const VIRTIO_BLK_ID_BYTES = 20
/** In the flags of a write-zeroes segment: the space may be given back. */
export const VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1

/** Capacity and requests count in these, whatever the block size. */
export const SECTOR_SIZE = 512

/** What a request starts with: le32 type, le32 reserved, le64 sector. */
export const HEADER_SIZE = 16
export const HEADER_TYPE = 0
export const HEADER_SECTOR = 8

/** struct virtio_blk_discard_write_zeroes: le64 sector, le32 num_sectors, le32 flags. */
export const SEGMENT_SIZE = 16
export const SEGMENT_SECTOR = 0
export const SEGMENT_NUM_SECTORS = 8
export const SEGMENT_FLAGS = 12

/** Offset of `writeback` in the configuration space: 1 writeback, 0 write-through. */
export const CONFIG_WRITEBACK = 32
/** Up to the end of the write-zeroes fields: secure erase is not offered. */
const CONFIG_SIZE = 60

/**
 * One discard or write-zeroes segment at most: 2 GiB. Host file systems work on that as one operation, so a larger
 * one would only delay others.
 */
export const MAX_SEGMENT_SECTORS = 2 ** 31 / SECTOR_SIZE

/** What the configuration space tells. */
export interface BlkConfig {
  readonly capacitySectors: number
  readonly segMax: number
  readonly queues: number
  /** Bytes: `logical` and `physical` are powers of two; `optimal` may be 0. */
  readonly logical: number
  readonly physical: number
  readonly minimal: number
  readonly optimal: number
  readonly discardAlignment: number
}

/** struct virtio_blk_config, §5.2.4. */
export function encodeConfig(config: BlkConfig): Uint8Array {
  const bytes = new Uint8Array(CONFIG_SIZE)
  const view = new DataView(bytes.buffer)
  const { logical } = config
  view.setBigUint64(0, BigInt(config.capacitySectors), true)
  view.setUint32(12, config.segMax, true)
  view.setUint32(20, logical, true)
  bytes[24] = Math.log2(config.physical / logical)
  view.setUint16(26, Math.min(config.minimal / logical, 0xffff), true)
  view.setUint32(28, config.optimal / logical, true)
  bytes[CONFIG_WRITEBACK] = 1
  view.setUint16(34, config.queues, true)
  view.setUint32(36, MAX_SEGMENT_SECTORS, true)
  view.setUint32(40, 1, true)
  view.setUint32(44, config.discardAlignment / SECTOR_SIZE, true)
  view.setUint32(48, MAX_SEGMENT_SECTORS, true)
  view.setUint32(52, 1, true)
  bytes[56] = 1
  return bytes
}

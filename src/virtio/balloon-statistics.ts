/** Memory statistics of a balloon driver. VIRTIO 1.2 §5.5.6.4: an array of tags and values. */
import { getU64 } from '../base/u64.ts'
import type { Extents } from '../memory/extents.ts'

/** struct virtio_balloon_stat, packed: le16 tag, le64 val. */
const STAT_SIZE = 10
/** More than any driver has; what follows is ignored. */
const MAX_STATS = 64

/** VIRTIO_BALLOON_S_* in order, by the names that QEMU gives them. The last six are newer than VIRTIO 1.2. */
const NAMES = [
  'stat-swap-in',
  'stat-swap-out',
  'stat-major-faults',
  'stat-minor-faults',
  'stat-free-memory',
  'stat-total-memory',
  'stat-available-memory',
  'stat-disk-caches',
  'stat-htlb-pgalloc',
  'stat-htlb-pgfail',
  'stat-oom-kills',
  'stat-alloc-stalls',
  'stat-async-scans',
  'stat-direct-scans',
  'stat-async-reclaims',
  'stat-direct-reclaims',
] as const

/** Bytes and counts by QEMU's names; only what the driver told. */
export type BalloonStatistics = Partial<Record<(typeof NAMES)[number], number>>

/** Reads what a driver put into a buffer; unknown tags are skipped. */
export function readStatistics(buffer: Extents): BalloonStatistics {
  const bytes = new Uint8Array(STAT_SIZE * MAX_STATS)
  const view = new DataView(bytes.buffer)
  const size = buffer.read(0, bytes)
  const statistics: BalloonStatistics = {}
  for (let at = 0; at + STAT_SIZE <= size; at += STAT_SIZE) {
    const name = NAMES[view.getUint16(at, true)]
    if (name !== undefined) statistics[name] = getU64(view, at + 2)
  }
  return statistics
}

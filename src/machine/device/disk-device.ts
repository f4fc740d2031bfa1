/** `--disk` on the device thread. */
import { Disk, type PinnedRange } from '../../backend/disk.ts'
import type { DiskIo } from '../../backend/disk-io.ts'
import { ThreadIo } from '../../backend/disk-thread.ts'
import { SysError } from '../../base/errors.ts'
import { EventFd } from '../../host/eventfd.ts'
import { IoUring } from '../../host/io-uring.ts'
import { holdRam, type RamBlock } from '../../memory/ram.ts'
import { VirtioBlk } from '../../virtio/blk.ts'
import type { DiskPlan } from './disk.ts'
import type { DeviceEnvironment } from './environment.ts'

const RING_ENTRIES = 256
/** The kernel registers at most 1 GiB as one buffer. */
const PINNED_BYTES = 2 ** 30

type Environment = Pick<DeviceEnvironment, 'loop' | 'ram' | 'debug' | 'warn'>

/** Builds the device. */
export function createDisk(plan: DiskPlan, environment: Environment): VirtioBlk {
  const { path, fd, size, readOnly, directAlignment, geometry, serial, queues, channel } = plan
  const { loop, warn } = environment
  for (const warning of plan.warnings) warn(warning)
  const event = new EventFd(plan.eventFd)
  let io: DiskIo
  let pinned: readonly PinnedRange[] = []
  if (channel === undefined) {
    const ring = openRing(fd, event)
    pinned = plan.pinned ? pinMemory(ring, plan, environment) : []
    io = ring
  } else io = new ThreadIo(channel)
  const abandon = () => holdRam(environment.ram.hold)
  const options = { path, fd, size, readOnly, directAlignment, geometry, io, event, loop, pinned, warn, abandon }
  return new VirtioBlk({ name: `disk ${path}`, backend: new Disk(options), serial, queues })
}

function openRing(fd: number, event: EventFd): IoUring {
  const ring = IoUring.create(RING_ENTRIES)
  ring.setFile(fd)
  ring.setEventFd(event.fd)
  return ring
}

/** Registers guest memory; goes without where the host has not that much to pin (RLIMIT_MEMLOCK). */
function pinMemory(ring: IoUring, { path }: DiskPlan, { ram, debug }: Environment): readonly PinnedRange[] {
  const ranges = ram.blocks.flatMap(pieces)
  try {
    ring.setBuffers(ranges)
    return ranges
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    debug(`disk ${path}: guest memory stays unpinned: ${error.message}`)
    return []
  }
}

function pieces({ hostAddress, size }: RamBlock): PinnedRange[] {
  const list: PinnedRange[] = []
  for (let at = 0; at < size; at += PINNED_BYTES)
    list.push({ address: hostAddress + at, size: Math.min(PINNED_BYTES, size - at) })
  return list
}

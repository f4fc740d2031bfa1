/** `--disk` on the main thread: checks a configuration, opens the file, and starts its I/O thread if needed. */
import { createChannelMemory, type DiskChannel, stopChannel } from '../../backend/disk-thread.ts'
import { BadInput, SysError } from '../../base/errors.ts'
import { EventFd } from '../../host/eventfd.ts'
import { IoUring } from '../../host/io-uring.ts'
import type { BlockSizes } from '../../virtio/blk-backend.ts'
import type { FromIo } from '../io-worker.ts'
import { MachineWorker } from '../worker.ts'
import { checkSerial, type DiskConfig, defaultSerial, MAX_DISK_QUEUES } from './disk-config.ts'
import { openDiskFile } from './disk-file.ts'
import type { OpenDevice } from './environment.ts'

const DEFAULT_QUEUES = 4
/** How long a disk's thread may take to end, with nothing left to do. */
const STOP_MS = 2000

/** For the device thread. */
export interface DiskPlan {
  readonly path: string
  readonly fd: number
  /** Bytes; a multiple of 512. */
  readonly size: number
  readonly readOnly: boolean
  readonly directAlignment: number
  readonly geometry: BlockSizes
  readonly serial: string
  readonly queues: number
  readonly pinned: boolean
  /** Signalled for completions. */
  readonly eventFd: number
  /** The I/O thread; undefined: io_uring. */
  readonly channel: DiskChannel | undefined
  /** What the user should hear, once the machine can tell. */
  readonly warnings: readonly string[]
}

/** Opens the disk for a machine with `cpus` vCPUs; throws `BadInput`. */
export async function openDisk(config: DiskConfig, cpus: number): Promise<OpenDevice<DiskPlan>> {
  const { path, readOnly = false, pinned = false } = config
  const queues = config.queues ?? Math.min(cpus, DEFAULT_QUEUES)
  if (!Number.isInteger(queues) || queues < 1 || queues > MAX_DISK_QUEUES)
    throw new BadInput(`disk ${path}: queues must be 1 to ${MAX_DISK_QUEUES}, not ${queues}`)
  const serial = config.serial ?? defaultSerial(path)
  checkSerial(path, serial)
  const usesThread = config.io === 'threads' || !hasUring()
  if (usesThread && config.io === 'uring')
    throw new BadInput(`disk ${path}: this host has no io_uring for us: leave out io=uring`)
  if (usesThread && pinned) throw new BadInput(`disk ${path}: pinned memory needs io_uring: leave out pinned`)
  await using opened = new AsyncDisposableStack()
  const file = opened.use(openDiskFile(config))
  const { fd, bytes, geometry, directAlignment } = file
  const warnings = [...file.warnings]
  // An aligned guest's requests go straight to the disk.
  const logical = Math.max(geometry.logical, directAlignment)
  const size = bytes - (bytes % logical)
  if (size !== bytes) warnings.push(`disk ${path} has ${bytes} bytes: the guest sees ${size}, in blocks of ${logical}`)
  const event = opened.use(EventFd.create())
  const channel = usesThread ? await startThread(fd, event.fd, opened) : undefined
  return {
    plan: {
      path,
      fd,
      size,
      readOnly,
      directAlignment,
      geometry: { ...geometry, logical, physical: Math.max(geometry.physical, logical) },
      serial,
      queues,
      pinned,
      eventFd: event.fd,
      channel,
      warnings,
    },
    resources: opened.move(),
  }
}

/** Whether this process may use io_uring: kernels, sysctls and seccomp filters can be against it. */
function hasUring(): boolean {
  try {
    IoUring.create(1)[Symbol.dispose]()
    return true
  } catch (error) {
    if (error instanceof SysError) return false
    throw error
  }
}

async function startThread(fd: number, eventFd: number, opened: AsyncDisposableStack): Promise<DiskChannel> {
  const channel = { shared: createChannelMemory(), eventFd, fd }
  const worker = new MachineWorker<DiskChannel, FromIo>('io-worker', () => {})
  opened.defer(async () => {
    const stopped = Promise.race([worker.next('stopped'), worker.next('failed')])
    stopChannel(channel)
    // A disk that does not answer keeps its thread, and the device thread has told the user.
    const isStopped = await Promise.race([stopped.then(() => true), Bun.sleep(STOP_MS).then(() => false)])
    if (isStopped) await worker.end()
    else worker.abandon()
  })
  const ready = Promise.race([worker.next('ready'), worker.next('failed')])
  worker.start(channel)
  const first = await ready
  if (first.type === 'failed') throw new Error(first.message)
  return channel
}

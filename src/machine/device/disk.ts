/** `--disk` on the main thread: checks a configuration, opens and locks the file, and starts its I/O thread if needed. */
import { constants, fstatSync } from 'node:fs'
import { createChannelMemory, type DiskChannel, stopChannel } from '../../backend/disk-thread.ts'
import { BadInput, SysError } from '../../base/errors.ts'
import { EACCES, ENOENT, EPERM, EROFS } from '../../host/errno.ts'
import { EventFd } from '../../host/eventfd.ts'
import { closeFd, openFd, setNonBlocking } from '../../host/fd.ts'
import { blockGeometry, lockFile, takesDirect, unlockFile } from '../../host/file.ts'
import { IoUring } from '../../host/io-uring.ts'
import type { BlockSizes } from '../../virtio/blk-backend.ts'
import type { FromIo } from '../io-worker.ts'
import { MachineWorker } from '../worker.ts'
import { type DiskConfig, defaultSerial, MAX_DISK_QUEUES, SERIAL_BYTES } from './disk-config.ts'
import type { OpenDevice } from './environment.ts'

const DEFAULT_QUEUES = 4
const SECTOR_SIZE = 512
/** What file systems work in, and guests' too. */
const PAGE_SIZE = 4096

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
  const { path, readOnly = false, direct = false, pinned = false } = config
  const queues = config.queues ?? Math.min(cpus, DEFAULT_QUEUES)
  if (!Number.isInteger(queues) || queues < 1 || queues > MAX_DISK_QUEUES)
    throw new BadInput(`disk ${path}: queues must be 1 to ${MAX_DISK_QUEUES}, not ${queues}`)
  const serial = config.serial ?? defaultSerial(path)
  if (Buffer.byteLength(serial) > SERIAL_BYTES)
    throw new BadInput(`disk ${path}: the serial number "${serial}" is longer than ${SERIAL_BYTES} bytes`)
  const usesThread = config.io === 'threads' || (config.io === undefined && !hasUring())
  if (usesThread && pinned) throw new BadInput(`disk ${path}: pinned memory needs io_uring: leave out pinned`)
  await using opened = new AsyncDisposableStack()
  const fd = openFile(path, readOnly, direct)
  opened.defer(() => closeFd(fd))
  const warnings: string[] = []
  lock(path, fd, readOnly, warnings)
  opened.defer(() => unlockFile(fd))
  const { bytes, geometry } = sizes(path, fd)
  const directAlignment = direct ? alignment(path, fd, geometry.logical) : 0
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

function openFile(path: string, readOnly: boolean, direct: boolean): number {
  const access = readOnly ? constants.O_RDONLY : constants.O_RDWR
  let fd: number
  try {
    // Without waiting for the other end of what may be a FIFO.
    fd = openFd(path, access | constants.O_NONBLOCK | (direct ? constants.O_DIRECT : 0))
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    if (error.errno === ENOENT) throw new BadInput(`disk ${path} does not exist: make it with truncate -s SIZE ${path}`)
    const isRefused = !readOnly && [EACCES, EPERM, EROFS].includes(error.errno)
    const hint = isRefused ? ` for writing: write ${path},ro to only read it` : ''
    throw new BadInput(`disk ${path} cannot be opened${hint} (${error.code})`, { cause: error })
  }
  const status = fstatSync(fd)
  if (status.isFile() || status.isBlockDevice()) {
    // io_uring would answer EAGAIN rather than wait.
    setNonBlocking(fd, false)
    return fd
  }
  closeFd(fd)
  throw new BadInput(`disk ${path} is neither a file nor a block device`)
}

function lock(path: string, fd: number, readOnly: boolean, warnings: string[]): void {
  let isFree: boolean
  try {
    isFree = lockFile(fd, !readOnly)
  } catch (error) {
    if (!(error instanceof SysError)) throw error
    warnings.push(`disk ${path} cannot be locked, so nothing keeps others from it: ${error.message}`)
    return
  }
  if (isFree) return
  const hint = readOnly ? 'somebody writes to it' : 'a disk has one writer and then no readers'
  throw new BadInput(`disk ${path} is in use by another guest or disk: ${hint}`)
}

function sizes(path: string, fd: number): { readonly bytes: number; readonly geometry: BlockSizes } {
  const status = fstatSync(fd)
  if (!status.isBlockDevice()) {
    const geometry = { logical: SECTOR_SIZE, physical: PAGE_SIZE, minimal: PAGE_SIZE, optimal: 0, discard: PAGE_SIZE }
    return { bytes: status.size, geometry }
  }
  try {
    const { size, logical, physical, minimal, optimal } = blockGeometry(fd)
    return { bytes: size, geometry: { logical, physical, minimal, optimal, discard: physical } }
  } catch (error) {
    throw new BadInput(`disk ${path} is no usable block device: ${(error as Error).message}`, { cause: error })
  }
}

/** What direct transfers must be aligned to: the smallest that the host takes. */
function alignment(path: string, fd: number, logical: number): number {
  for (let size = Math.max(logical, SECTOR_SIZE); size <= PAGE_SIZE; size *= 2) if (takesDirect(fd, size)) return size
  throw new BadInput(`disk ${path} cannot be read past the page cache: leave out direct`)
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
    await stopped
    await worker.end()
  })
  const ready = Promise.race([worker.next('ready'), worker.next('failed')])
  worker.start(channel)
  const first = await ready
  if (first.type === 'failed') throw new Error(first.message)
  return channel
}

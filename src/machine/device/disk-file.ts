/** The file behind `--disk`: opened, locked and measured; or only tried, before anything is built for it. */
import { constants, fstatSync } from 'node:fs'
import { BadInput, SysError } from '../../base/errors.ts'
import { EACCES, EINVAL, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS } from '../../host/errno.ts'
import { closeFd, openFd, setNonBlocking } from '../../host/fd.ts'
import { blockGeometry, lockFile, takesDirect, unlockFile } from '../../host/file.ts'
import type { BlockSizes } from '../../virtio/blk-backend.ts'
import type { DiskConfig } from './disk-config.ts'

const SECTOR_SIZE = 512
/** What file systems work in, and guests' too. */
const PAGE_SIZE = 4096

/** An open file or block device, locked for as long as it is not disposed. */
export interface DiskFile extends Disposable {
  readonly fd: number
  readonly bytes: number
  readonly geometry: BlockSizes
  /** What direct transfers must be aligned to; 0 for others. */
  readonly directAlignment: number
  /** What the user should hear, once the machine can tell. */
  readonly warnings: readonly string[]
}

type FileConfig = Pick<DiskConfig, 'path' | 'readOnly' | 'direct'>

/** Opens the file; throws `BadInput`. */
export function openDiskFile({ path, readOnly = false, direct = false }: FileConfig): DiskFile {
  using opened = new DisposableStack()
  const fd = openFile(path, readOnly, direct)
  opened.defer(() => closeFd(fd))
  const warnings: string[] = []
  lock(path, fd, readOnly, warnings)
  opened.defer(() => unlockFile(fd))
  const { bytes, geometry } = sizes(path, fd)
  const directAlignment = direct ? alignment(path, fd, geometry.logical) : 0
  const resources = opened.move()
  return { fd, bytes, geometry, directAlignment, warnings, [Symbol.dispose]: () => resources.dispose() }
}

/** Throws `BadInput` for what no guest can use, all at a time: two of them may be the same file. */
export function checkDiskFiles(configs: readonly FileConfig[]): void {
  using opened = new DisposableStack()
  for (const config of configs) {
    const { path } = config
    if (opened.use(openDiskFile(config)).bytes < SECTOR_SIZE)
      throw new BadInput(`disk ${path} is empty: give it a size with truncate -s SIZE ${path}`)
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
    throw new BadInput(`disk ${path} ${openProblem(error, path, readOnly, direct)}`, { cause: error })
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

/** Why a file cannot be opened, in words that help. */
function openProblem({ errno, code }: SysError, path: string, readOnly: boolean, direct: boolean): string {
  switch (errno) {
    case ENOENT:
    case ENOTDIR:
      return `does not exist: make it with truncate -s SIZE ${path}`
    case EISDIR:
      return 'is neither a file nor a block device'
    case EINVAL:
      return direct ? 'cannot be read past the page cache: leave out direct' : `cannot be opened (${code})`
    case EACCES:
    case EPERM:
    case EROFS:
      return `cannot be opened${readOnly ? '' : ` for writing: write ${path},ro to only read it`} (${code})`
    default:
      return `cannot be opened (${code})`
  }
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

/** The smallest alignment of direct transfers that the host takes. */
function alignment(path: string, fd: number, logical: number): number {
  for (let size = Math.max(logical, SECTOR_SIZE); size <= PAGE_SIZE; size *= 2) if (takesDirect(fd, size)) return size
  throw new BadInput(`disk ${path} cannot be read past the page cache: leave out direct`)
}

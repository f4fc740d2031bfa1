/**
 * Files and block devices as disks: vectored reads and writes at an offset, allocation, sizes, locks.
 * The transfer functions answer as the kernel does (bytes, or a negative errno), like io_uring's completions.
 */
import type { Pointer } from 'bun:ffi'
import { CBuffer } from './c-buffer.ts'
import { EACCES, EAGAIN } from './errno.ts'
import { check, errno, libc, throwErrno } from './libc.ts'
import { Mapping } from './mapping.ts'

/** Only what the page cache has (linux/fs.h); EAGAIN where the disk is needed. */
export const RWF_NOWAIT = 8
/** Modes of fallocate(2) (linux/falloc.h). */
export const FALLOC_FL_KEEP_SIZE = 1
export const FALLOC_FL_PUNCH_HOLE = 2
export const FALLOC_FL_ZERO_RANGE = 0x10

const F_OFD_SETLK = 37
const F_RDLCK = 0
const F_WRLCK = 1
const F_UNLCK = 2
/** struct flock: l_type and l_whence (16 bits each), l_start, l_len, l_pid. Zero start and length: the whole file. */
const FLOCK_SIZE = 32

// linux/fs.h
const BLKSSZGET = 0x1268
const BLKIOMIN = 0x1278
const BLKIOOPT = 0x1279
const BLKPBSZGET = 0x127b
const BLKGETSIZE64 = 0x8008_1272

/** Sizes in bytes of a block device; `optimal` is 0 where there is no such size. */
export interface BlockGeometry {
  readonly size: number
  readonly logical: number
  readonly physical: number
  readonly minimal: number
  readonly optimal: number
}

/** preadv2(2). The iovecs at `address`, and what they point to, live until the call returns. */
export function readVector(fd: number, address: number, count: number, offset: number, flags: number): number {
  return orErrno(libc.preadv2(fd, address as Pointer, count, offset, flags) as number)
}

/** pwritev(2), with the same rule. */
export function writeVector(fd: number, address: number, count: number, offset: number): number {
  return orErrno(libc.pwritev(fd, address as Pointer, count, offset) as number)
}

/** fdatasync(2). */
export function syncData(fd: number): number {
  return orErrno(libc.fdatasync(fd))
}

/** fallocate(2). */
export function allocate(fd: number, mode: number, offset: number, length: number): number {
  return orErrno(libc.fallocate(fd, mode, offset, length))
}

/** What the host knows of a block device. */
export function blockGeometry(fd: number): BlockGeometry {
  const value = new CBuffer(8)
  const get = (name: string, request: number): number => {
    value.bytes.fill(0)
    check(`ioctl(${name})`, libc.ioctl(fd, request, value.pointer))
    return Number(value.view.getBigUint64(0, true))
  }
  return {
    size: get('BLKGETSIZE64', BLKGETSIZE64),
    logical: get('BLKSSZGET', BLKSSZGET),
    physical: get('BLKPBSZGET', BLKPBSZGET),
    minimal: get('BLKIOMIN', BLKIOMIN),
    optimal: get('BLKIOOPT', BLKIOOPT),
  }
}

/**
 * Locks all of an open file for one writer or for several readers; false when another open file has a lock against it.
 * The lock belongs to the open file (F_OFD_SETLK), so it also works within a process, and against QEMU's locks.
 * Throws `SysError` where the file system has no locks.
 */
export function lockFile(fd: number, exclusive: boolean): boolean {
  if (setLock(fd, exclusive ? F_WRLCK : F_RDLCK) >= 0) return true
  if (errno() === EAGAIN || errno() === EACCES) return false
  throwErrno('fcntl(F_OFD_SETLK)')
}

/** Gives the lock back at once, even while something (a ring that is taken apart) still refers to the open file. */
export function unlockFile(fd: number): void {
  setLock(fd, F_UNLCK)
}

/** Whether a file opened with O_DIRECT takes transfers of `size` bytes from memory at multiples of it, no better. */
export function takesDirect(fd: number, size: number): boolean {
  using page = Mapping.anonymous(2 * size)
  const iovec = new CBuffer(16)
  iovec.view.setBigUint64(0, BigInt(page.address + size), true)
  iovec.view.setBigUint64(8, BigInt(size), true)
  return readVector(fd, iovec.pointer as number, 1, 0, 0) >= 0
}

function setLock(fd: number, type: number): number {
  const lock = new CBuffer(FLOCK_SIZE)
  lock.view.setInt16(0, type, true)
  return libc.fcntl64(fd, F_OFD_SETLK, lock.pointer)
}

function orErrno(result: number): number {
  return result < 0 ? -errno() : result
}

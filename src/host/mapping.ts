/** Memory mappings: guest RAM in a memfd, a vCPU's run page, and files. */

import { type Pointer, toArrayBuffer } from 'bun:ffi'
import { constants } from 'node:fs'
import { closeFd, openFd } from './fd.ts'
import { check, cString, libc, throwErrno } from './libc.ts'

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const MAP_PRIVATE = 2
const MAP_ANONYMOUS = 0x20
const MAP_NORESERVE = 0x4000
const MFD_CLOEXEC = 1
const SEEK_END = 2
/** mmap's MAP_FAILED, (void *)-1, as a rounded number. */
const MAP_FAILED = 2 ** 64

/** Bytes mapped into this process: `address` is valid in every thread until the mapping is disposed. */
export class Mapping {
  private constructor(
    readonly address: number,
    readonly size: number,
  ) {}

  /** Maps `size` bytes of `fd` from its start, shared and writable. */
  static shared(fd: number, size: number): Mapping {
    return Mapping.map(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE)
  }

  /** Maps `size` bytes of `fd` from `offset` on, which is a multiple of the page size: a device's registers. */
  static device(fd: number, offset: number, size: number, writable: boolean): Mapping {
    return Mapping.map(fd, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, offset)
  }

  /** Zeroed memory of this process's own, from a page's start on. */
  static anonymous(size: number): Mapping {
    return Mapping.map(-1, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS)
  }

  /** Takes over a mapping that another thread of this process made, and that thread must not dispose. */
  static adopt(address: number, size: number): Mapping {
    return new Mapping(address, size)
  }

  /** Maps all of a file or block device, read-only; undefined for an empty one. */
  static file(path: string): Mapping | undefined {
    const fd = openFd(path, constants.O_RDONLY)
    try {
      const size = check(`lseek ${path}`, libc.lseek(fd, 0, SEEK_END) as number)
      return size === 0 ? undefined : Mapping.map(fd, size, PROT_READ, MAP_PRIVATE)
    } finally {
      closeFd(fd)
    }
  }

  private static map(fd: number, size: number, protection: number, flags: number, offset = 0): Mapping {
    const address = libc.mmap(null, size, protection, flags, fd, offset) as number | null
    if (address === null || address >= MAP_FAILED - 4096 || address < 0) throwErrno('mmap')
    return new Mapping(address, size)
  }

  /** A view of part of the mapping; the caller must not use it after the mapping is disposed. */
  bytes(offset = 0, size = this.size - offset): Uint8Array {
    return new Uint8Array(viewAt(this.address + offset, size))
  }

  [Symbol.dispose](): void {
    libc.munmap(this.address as Pointer, this.size)
  }
}

/** An ArrayBuffer over memory at `address` that somebody else owns and keeps mapped; at most 4 GiB. */
export function viewAt(address: number, size: number): ArrayBuffer {
  return toArrayBuffer(address as Pointer, 0, size)
}

/** An anonymous file of `size` zero bytes, allocated as it is touched. */
export function createMemfd(name: string, size: number): number {
  const label = cString(name)
  const fd = check('memfd_create', libc.memfd_create(label.pointer, MFD_CLOEXEC))
  if (libc.ftruncate(fd, size) < 0) {
    closeFd(fd)
    throwErrno(`ftruncate(memfd, ${size})`)
  }
  return fd
}

/** sendmsg(2) and recvmsg(2): scattered buffers, and file descriptors that travel with the bytes (SCM_RIGHTS). */
import { assert } from '../base/errors.ts'
import { CBuffer } from './c-buffer.ts'
import { EINTR, EMSGSIZE } from './errno.ts'
import { closeFd } from './fd.ts'
import { errno, libc, type Pointer } from './libc.ts'

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x4000_0000
const MSG_CTRUNC = 0x8

/** The most descriptors of one message (the kernel's SCM_MAX_FD is 253; vhost-user needs 8). */
const MAX_FDS = 64
const IOVEC_SIZE = 16

// struct msghdr, 64-bit: name, namelen, iov, iovlen, control, controllen, flags.
const MSGHDR_SIZE = 56
const MSG_IOV = 16
const MSG_IOVLEN = 24
const MSG_CONTROL = 32
const MSG_CONTROLLEN = 40
const MSG_FLAGS = 48

// struct cmsghdr, 64-bit: len, level, type, then the data.
const CMSG_LEVEL = 8
const CMSG_TYPE = 12
const CMSG_DATA = 16

/** A reusable `struct msghdr` with room for control data. One per user; not to be shared by nested calls. */
export class SocketMessage {
  private readonly header = new CBuffer(MSGHDR_SIZE)
  private readonly control = new CBuffer(CMSG_DATA + MAX_FDS * 4)
  private readonly single = new CBuffer(IOVEC_SIZE)

  /** Sends the `count` buffers of the iovec array at `iov`: how many bytes were taken, or `-errno`. */
  sendVector(fd: number, iov: Pointer, count: number): number {
    this.prepare(iov, count, 0)
    return this.transmit(fd)
  }

  /** Receives into the `count` buffers of the iovec array at `iov`: how many bytes, 0 at the end, or `-errno`. */
  receiveVector(fd: number, iov: Pointer, count: number): number {
    this.prepare(iov, count, 0)
    return this.accept(fd)
  }

  /** Sends `size` bytes with `fds`, which stay open here: how many bytes were taken, or `-errno`. */
  send(fd: number, pointer: Pointer, size: number, fds: readonly number[]): number {
    assert(fds.length <= MAX_FDS, `a message carries up to ${MAX_FDS} descriptors`)
    const length = fds.length === 0 ? 0 : CMSG_DATA + fds.length * 4
    const { view } = this.control
    view.setBigUint64(0, BigInt(length), true)
    view.setInt32(CMSG_LEVEL, SOL_SOCKET, true)
    view.setInt32(CMSG_TYPE, SCM_RIGHTS, true)
    for (const [index, passed] of fds.entries()) view.setInt32(CMSG_DATA + index * 4, passed, true)
    this.prepareSingle(pointer, size, length)
    return this.transmit(fd)
  }

  /**
   * Receives up to `size` bytes, and appends the descriptors that came along to `fds`, whose owner is the caller:
   * how many bytes, 0 at the end, or `-errno`. Too many descriptors: -EMSGSIZE, and none is kept.
   */
  receive(fd: number, pointer: Pointer, size: number, fds: number[]): number {
    this.prepareSingle(pointer, size, this.control.size)
    const count = this.accept(fd)
    if (count < 0) return count
    const length = Number(this.header.view.getBigUint64(MSG_CONTROLLEN, true))
    const received = length < CMSG_DATA ? [] : this.rights(length)
    if ((this.header.view.getInt32(MSG_FLAGS, true) & MSG_CTRUNC) === 0) {
      fds.push(...received)
      return count
    }
    for (const passed of received) closeFd(passed)
    return -EMSGSIZE
  }

  private rights(controlLength: number): number[] {
    const { view } = this.control
    if (view.getInt32(CMSG_LEVEL, true) !== SOL_SOCKET || view.getInt32(CMSG_TYPE, true) !== SCM_RIGHTS) return []
    const length = Math.min(Number(view.getBigUint64(0, true)), controlLength)
    const count = Math.floor((length - CMSG_DATA) / 4)
    return Array.from({ length: count }, (_, index) => view.getInt32(CMSG_DATA + index * 4, true))
  }

  private prepareSingle(pointer: Pointer, size: number, controlLength: number): void {
    this.single.view.setBigUint64(0, BigInt(pointer), true)
    this.single.view.setBigUint64(8, BigInt(size), true)
    this.prepare(this.single.pointer, 1, controlLength)
  }

  private prepare(iov: Pointer, count: number, controlLength: number): void {
    const { view } = this.header
    setPointer(view, MSG_IOV, iov)
    view.setUint32(MSG_IOVLEN, count, true)
    setPointer(view, MSG_CONTROL, controlLength === 0 ? 0 : this.control.pointer)
    view.setUint32(MSG_CONTROLLEN, controlLength, true)
    view.setUint32(MSG_FLAGS, 0, true)
  }

  private transmit(fd: number): number {
    for (;;) {
      const count = libc.sendmsg(fd, this.header.pointer, MSG_NOSIGNAL) as number
      if (count >= 0) return count
      const error = errno()
      if (error !== EINTR) return -error
    }
  }

  private accept(fd: number): number {
    for (;;) {
      const count = libc.recvmsg(fd, this.header.pointer, MSG_CMSG_CLOEXEC) as number
      if (count >= 0) return count
      const error = errno()
      if (error !== EINTR) return -error
    }
  }
}

function setPointer(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true)
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
}

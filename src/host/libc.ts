/**
 * The C library through bun:ffi, and the one way to call it: every result is checked and a failure becomes a
 * `SysError` that names call and errno. Only `src/host` imports bun:ffi.
 *
 * Pointers are passed as numbers; who keeps the memory alive is said at each caller. glibc only.
 */
import { dlopen, FFIType, toArrayBuffer } from 'bun:ffi'
import { SysError } from '../base/errors.ts'
import { CBuffer } from './c-buffer.ts'
import { errnoName } from './errno.ts'

const { symbols } = dlopen('libc.so.6', {
  __errno_location: { args: [], returns: 'ptr' },
  open: { args: ['ptr', 'i32', 'i32'], returns: 'i32' },
  close: { args: ['i32'], returns: 'i32' },
  read: { args: ['i32', 'ptr', 'u64'], returns: FFIType.i64_fast },
  write: { args: ['i32', 'ptr', 'u64'], returns: FFIType.i64_fast },
  lseek: { args: ['i32', FFIType.i64_fast, 'i32'], returns: FFIType.i64_fast },
  ioctl: { args: ['i32', 'u64', 'ptr'], returns: 'i32' },
  socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  socketpair: { args: ['i32', 'i32', 'i32', 'ptr'], returns: 'i32' },
  bind: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
  listen: { args: ['i32', 'i32'], returns: 'i32' },
  accept4: { args: ['i32', 'ptr', 'ptr', 'i32'], returns: 'i32' },
  connect: { args: ['i32', 'ptr', 'u32'], returns: 'i32' },
  recv: { args: ['i32', 'ptr', 'u64', 'i32'], returns: FFIType.i64_fast },
  send: { args: ['i32', 'ptr', 'u64', 'i32'], returns: FFIType.i64_fast },
  recvmsg: { args: ['i32', 'ptr', 'i32'], returns: FFIType.i64_fast },
  sendmsg: { args: ['i32', 'ptr', 'i32'], returns: FFIType.i64_fast },
  shutdown: { args: ['i32', 'i32'], returns: 'i32' },
  setsockopt: { args: ['i32', 'i32', 'i32', 'ptr', 'u32'], returns: 'i32' },
  readv: { args: ['i32', 'ptr', 'i32'], returns: FFIType.i64_fast },
  writev: { args: ['i32', 'ptr', 'i32'], returns: FFIType.i64_fast },
  fcntl64: { args: ['i32', 'i32', 'ptr'], returns: 'i32' },
  syscall: {
    args: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'],
    returns: FFIType.i64_fast,
  },
  preadv2: { args: ['i32', 'ptr', 'i32', FFIType.i64_fast, 'i32'], returns: FFIType.i64_fast },
  pwritev: { args: ['i32', 'ptr', 'i32', FFIType.i64_fast], returns: FFIType.i64_fast },
  pread: { args: ['i32', 'ptr', 'u64', FFIType.i64_fast], returns: FFIType.i64_fast },
  pwrite: { args: ['i32', 'ptr', 'u64', FFIType.i64_fast], returns: FFIType.i64_fast },
  fdatasync: { args: ['i32'], returns: 'i32' },
  fcntl: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  mmap: { args: ['ptr', 'u64', 'i32', 'i32', 'i32', FFIType.i64_fast], returns: 'ptr' },
  memcpy: { args: ['ptr', 'ptr', 'u64'], returns: 'ptr' },
  munmap: { args: ['ptr', 'u64'], returns: 'i32' },
  memfd_create: { args: ['ptr', 'u32'], returns: 'i32' },
  fallocate: { args: ['i32', 'i32', FFIType.i64_fast, FFIType.i64_fast], returns: 'i32' },
  ftruncate: { args: ['i32', FFIType.i64_fast], returns: 'i32' },
  eventfd: { args: ['u32', 'i32'], returns: 'i32' },
  timerfd_create: { args: ['i32', 'i32'], returns: 'i32' },
  timerfd_settime: { args: ['i32', 'i32', 'ptr', 'ptr'], returns: 'i32' },
  epoll_create1: { args: ['i32'], returns: 'i32' },
  epoll_ctl: { args: ['i32', 'i32', 'i32', 'ptr'], returns: 'i32' },
  epoll_wait: { args: ['i32', 'ptr', 'i32', 'i32'], returns: 'i32' },
  sigaction: { args: ['i32', 'ptr', 'ptr'], returns: 'i32' },
  gettid: { args: [], returns: 'i32' },
  sched_setscheduler: { args: ['i32', 'i32', 'ptr'], returns: 'i32' },
  getpid: { args: [], returns: 'i32' },
  getrandom: { args: ['ptr', 'u64', 'u32'], returns: FFIType.i64_fast },
  tgkill: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
  getrlimit: { args: ['i32', 'ptr'], returns: 'i32' },
  setrlimit: { args: ['i32', 'ptr'], returns: 'i32' },
  prctl: { args: ['i32', 'u64', 'u64', 'u64', 'u64'], returns: 'i32' },
  dlsym: { args: ['ptr', 'ptr'], returns: 'ptr' },
  isatty: { args: ['i32'], returns: 'i32' },
  tcgetattr: { args: ['i32', 'ptr'], returns: 'i32' },
  tcsetattr: { args: ['i32', 'i32', 'ptr'], returns: 'i32' },
})

export type { Pointer } from 'bun:ffi'

/** The raw functions. Prefer the checked ones; the hot paths (KVM_RUN, epoll_wait) use these with `errno()`. */
export const libc = symbols

// errno is per thread and this module is loaded once per Worker, so each thread caches its own location.
const errnoLocation = symbols.__errno_location()
if (errnoLocation === null) throw new Error('__errno_location returned NULL')
const errnoView = new Int32Array(toArrayBuffer(errnoLocation, 0, 4))

/** The calling thread's errno; meaningful right after a failed call. */
export function errno(): number {
  return errnoView[0] as number
}

/** Throws the calling thread's errno as a `SysError` naming `call`. */
export function throwErrno(call: string): never {
  const number = errno()
  throw new SysError(call, number, errnoName(number))
}

/** Returns `result`, or throws a `SysError` naming `call` when it is negative. */
export function check(call: string, result: number): number {
  if (result < 0) throwErrno(call)
  return result
}

/** Address of a C function, for tables of function pointers such as `struct sigaction`. */
export function functionAddress(name: string): number {
  const symbol = cString(name)
  const address = symbols.dlsym(null, symbol.pointer)
  if (address === null) throw new Error(`dlsym: no symbol ${name}`)
  return Number(address)
}

/** A NUL-terminated copy of `text`; the caller keeps the result alive across the call that uses `pointer`. */
export function cString(text: string): CBuffer {
  const encoded = new TextEncoder().encode(text)
  const buffer = new CBuffer(encoded.length + 1)
  buffer.bytes.set(encoded)
  return buffer
}

/** Signals: the kick that makes a thread leave a blocking system call. */
import { CBuffer } from './c-buffer.ts'
import { check, functionAddress, libc } from './libc.ts'

/**
 * The kick. Bun and its garbage collector use 4-8, 11, 30, 31 and 33; glibc 32 to 34; 36 is free.
 */
export const KICK_SIGNAL = 36

// glibc struct sigaction on x86-64 and arm64: handler, 128-byte mask, flags, restorer.
const SIGACTION_SIZE = 152

/**
 * Makes KICK_SIGNAL interrupt blocking calls with EINTR. The handler has to be harmless and safe in a signal
 * context: getpid is. No SA_RESTART, or KVM_RUN and epoll_wait would go on.
 */
export function installKick(): void {
  const action = new CBuffer(SIGACTION_SIZE)
  action.view.setBigUint64(0, BigInt(functionAddress('getpid')), true)
  check('sigaction', libc.sigaction(KICK_SIGNAL, action.pointer, null))
}

/** The calling thread's id, for `kick`. */
export function threadId(): number {
  return libc.gettid()
}

/** Interrupts whatever thread `tid` of this process is blocked in; a thread that is gone is ignored. */
export function kick(tid: number): void {
  libc.tgkill(process.pid, tid, KICK_SIGNAL)
}

/** How the kernel shares processors between threads (sched(7)). */
import { CBuffer } from './c-buffer.ts'
import { libc } from './libc.ts'

/** Policies and flags of sched_setscheduler(2), the same on all architectures. */
export const SCHED_FIFO = 1
/** What the thread creates is as threads are by default. */
export const SCHED_RESET_ON_FORK = 0x4000_0000

/**
 * Lets the calling thread run as soon as it has work, before all threads of normal priority. For threads that sleep most
 * of the time. False where the process may not (it takes CAP_SYS_NICE or a limit of real-time priority).
 */
export function takePrecedence(): boolean {
  // struct sched_param has one field, sched_priority; 1 is the least that comes before normal threads.
  const parameters = new CBuffer(4)
  parameters.view.setInt32(0, 1, true)
  return libc.sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, parameters.pointer) === 0
}

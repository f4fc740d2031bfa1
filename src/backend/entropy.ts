/** Random bytes of the host's kernel: getrandom(2) writes them into guest memory. */
import { EINTR, errnoName } from '../host/errno.ts'
import { errno, libc } from '../host/libc.ts'
import type { Extents } from '../memory/extents.ts'
import type { EntropySource } from '../virtio/rng.ts'

type Address = Parameters<typeof libc.getrandom>[0]

/** The kernel's generator. It never blocks once the host has booted. */
export class HostEntropy implements EntropySource {
  private hasFailed = false

  constructor(private readonly warn: (message: string) => void) {}

  fill(buffer: Extents, length: number): number {
    let done = 0
    for (let i = 0; i < buffer.count && done < length; i++) {
      const size = Math.min(buffer.length(i), length - done)
      // Guest RAM is mapped for as long as the machine runs, and an extent lies in one piece of it.
      const count = this.getrandom(buffer.memory.hostAddress(buffer.start(i)), size)
      done += count
      if (count < size) break
    }
    return done
  }

  /** How many of the bytes it could: a system call filter may be against it, and the guest has other sources. */
  private getrandom(address: number, size: number): number {
    for (let done = 0; done < size; ) {
      const count = libc.getrandom((address + done) as Address, size - done, 0) as number
      const number = count < 0 ? errno() : 0
      if (count >= 0) done += count
      else if (number !== EINTR) {
        if (!this.hasFailed)
          this.warn(`the guest gets no entropy: getrandom failed: ${errnoName(number)} (errno ${number})`)
        this.hasFailed = true
        return done
      }
    }
    return size
  }
}

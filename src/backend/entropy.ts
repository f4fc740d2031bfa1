/** Random bytes of the host's kernel: getrandom(2) writes them into guest memory. */
import { EINTR } from '../host/errno.ts'
import { errno, libc, throwErrno } from '../host/libc.ts'
import type { Extents } from '../memory/extents.ts'
import type { EntropySource } from '../virtio/rng.ts'

type Address = Parameters<typeof libc.getrandom>[0]

/** The kernel's generator. It never blocks once the host has booted. */
export class HostEntropy implements EntropySource {
  fill(buffer: Extents, length: number): number {
    let done = 0
    for (let i = 0; i < buffer.count && done < length; i++) {
      const size = Math.min(buffer.length(i), length - done)
      // Guest RAM is mapped for as long as the machine runs, and an extent lies in one piece of it.
      getrandom(buffer.memory.hostAddress(buffer.start(i)), size)
      done += size
    }
    return done
  }
}

function getrandom(address: number, size: number): void {
  for (let done = 0; done < size; ) {
    const count = libc.getrandom((address + done) as Address, size - done, 0) as number
    if (count >= 0) done += count
    else if (errno() !== EINTR) throwErrno('getrandom')
  }
}

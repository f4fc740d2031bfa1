/** What this process holds of the host. */
import { readdirSync, readlinkSync } from 'node:fs'

/** Its descriptors, by what they lead to. */
export function descriptors(): readonly string[] {
  return readdirSync('/proc/self/fd').map(targetOf).sort()
}

/** How many threads it has. */
export function threads(): number {
  return readdirSync('/proc/self/task').length
}

/** The descriptor that lists the directory is gone by the time it is looked at. */
function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).replace(/\[\d+\]/, '')
  } catch {
    return 'gone'
  }
}

/** Whether this host has tap interfaces for us, and a network of its own for a test process to make them in. */
import { closeFd } from '../../src/host/fd.ts'
import { openTap } from '../../src/host/tap.ts'

/** Why there are none. */
export function missingTap(): string | undefined {
  try {
    closeFd(openTap('', false).fd)
    return undefined
  } catch (error) {
    return `no tap interface can be made: ${(error as Error).message}`
  }
}

/** A name that no other test process uses. */
export function tapName(suffix: string): string {
  return `bh${process.pid}${suffix}`
}

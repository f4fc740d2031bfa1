/** Where the system has virtiofsd. Apart from what starts it, so that who only looks for it loads none of that. */
import { accessSync, constants } from 'node:fs'

/** Where packages put it, as it is no command for people and not in PATH. */
const USUAL_PLACES = ['/usr/libexec/virtiofsd', '/usr/lib/virtiofsd', '/usr/lib/qemu/virtiofsd']

/** The system's virtiofsd; undefined where it has none. */
export function systemVirtiofsd(): string | undefined {
  return Bun.which('virtiofsd') ?? USUAL_PLACES.find(isExecutable)
}

/** Whether `path` is a file that this process may run. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

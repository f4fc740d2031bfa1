/** Old cache entries of the rig: sources and machines change often, and each leaves an entry. */
import { existsSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'

const KEEP_DAYS = 14
const DAY_MS = 86_400_000

/** Notes that an entry is in use. */
export function markUsed(path: string): void {
  const now = new Date()
  utimesSync(path, now, now)
}

/** Removes the entries of `folder` whose names start with `prefix` and that nobody has used for two weeks. */
export function removeUnused(folder: string, prefix: string, nowMs = Date.now()): void {
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    // An entry can go away between the two calls: another process cleans as well.
    const stat = name.startsWith(prefix) ? statSync(path, { throwIfNoEntry: false }) : undefined
    if (stat?.isDirectory() && nowMs - stat.mtimeMs > KEEP_DAYS * DAY_MS) rmSync(path, { recursive: true, force: true })
  }
}

/**
 * The cache folder: things that take long to make, each made once. An entry is built in a temporary folder and renamed
 * into place, so what has its final name is complete, however the builder ended.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { BadInput } from '../base/errors.ts'
import { isAlive, withLock } from './lock.ts'

const TEMPORARY = 'building-'

/** Where the cache is: `$BULKHEAD_CACHE`, else `$XDG_CACHE_HOME/bulkhead`, else `~/.cache/bulkhead`. */
export function cacheRoot(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const own = env['BULKHEAD_CACHE']
  if (own !== undefined && own !== '') {
    if (!isAbsolute(own)) throw new BadInput(`BULKHEAD_CACHE is '${own}': make it an absolute path.`)
    return own
  }
  const xdg = env['XDG_CACHE_HOME']
  // The XDG base directory specification says to ignore a relative one.
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(env['HOME'] || homedir(), '.cache')
  return join(base, 'bulkhead')
}

/** Makes `folder` with its parents; the error says how to choose another place. */
export function makeCacheFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (cause) {
    throw new BadInput(`The cache folder ${folder} cannot be made: set BULKHEAD_CACHE to a folder you can write.`, {
      cause,
    })
  }
}

/** A short name for everything that `parts` say, in their order. */
export function cacheKey(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest('hex').slice(0, 16)
}

/**
 * The folder `root/name`, made by `build` if it is not there. Of several processes one builds and the others wait.
 *
 * @example await cacheEntry(cacheRoot(), 'guest-1234', async folder => writeFileSync(join(folder, 'initrd'), bytes))
 */
export async function cacheEntry(
  root: string,
  name: string,
  build: (folder: string) => Promise<void>,
  onWait: () => void = () => {},
): Promise<string> {
  const entry = join(root, name)
  if (existsSync(entry)) return entry
  makeCacheFolder(root)
  return withLock(
    join(root, `${name}.lock`),
    async () => {
      if (existsSync(entry)) return entry
      removeLeftovers(root)
      const folder = mkdtempSync(join(root, `${TEMPORARY}${process.pid}-`))
      try {
        await build(folder)
        renameSync(folder, entry)
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
      return entry
    },
    onWait,
  )
}

/** Removes what builders that were killed left behind. */
function removeLeftovers(root: string): void {
  for (const name of readdirSync(root)) {
    const pid = Number(/^building-(\d+)-/.exec(name)?.[1])
    if (pid > 0 && !isAlive(pid)) rmSync(join(root, name), { recursive: true, force: true })
  }
}

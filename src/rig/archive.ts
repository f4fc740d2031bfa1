/** Folders of the host as cpio archives, which L1 unpacks into its root. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { cacheEntry, cacheKey, cacheRoot } from '../packages/cache.ts'
import { CpioBuilder } from '../packages/cpio.ts'

const FILE = 'archive.cpio'

/**
 * An archive with the files of `folder` under `prefix`, made once for each state of the folder.
 *
 * @example await folderArchive('/cache/passt-1', 'tools/passt')
 */
export async function folderArchive(folder: string, prefix: string): Promise<string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()
  const state = files.flatMap(path => [path, String(statSync(path).mtimeMs)])
  const entry = await cacheEntry(join(cacheRoot(), 'rig'), `archive-${cacheKey([prefix, ...state])}`, async target => {
    const archive = new CpioBuilder()
    for (const path of files)
      archive.file(join(prefix, relative(folder, path)), readFileSync(path), statSync(path).mode & 0o777)
    writeFileSync(join(target, FILE), archive.build())
  })
  return join(entry, FILE)
}

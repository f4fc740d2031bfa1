/** `--share DIR[,TAG][,ro]`: a directory of the host for the guest. */
import { basename, resolve } from 'node:path'
import { BadInput } from '../base/errors.ts'
import { checkFolder, checkTag, type ShareConfig } from '../machine/device/share-config.ts'

/** For help texts. */
export const SHARE_VALUE = 'DIR[,TAG][,ro]'

/** Parses one option's value; throws `BadInput`. Without a tag, the directory's own name is it. */
export function parseShare(text: string): ShareConfig {
  // From the end: a directory's name may have commas.
  const words = text.split(',')
  const readOnly = words.length > 1 && words.at(-1) === 'ro'
  if (readOnly) words.pop()
  const given = words.length > 1 ? words.pop() : undefined
  const path = words.join(',')
  if (path === '') throw new BadInput(`--share needs a directory (${SHARE_VALUE}), not "${text}"`)
  checkFolder(path)
  const tag = given ?? defaultTag(path)
  checkTag(tag)
  return { kind: 'share', path: resolve(path), tag, ...(readOnly ? { readOnly } : {}) }
}

function defaultTag(path: string): string {
  const name = basename(resolve(path))
  if (name === '') throw new BadInput(`--share ${path} has no name that could be its tag: write ${path},TAG`)
  return name
}

/** The disk that the bench guest reads and writes. */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'

const DISK_BYTES = 2 ** 28

/** A file whose blocks exist and lie in the page cache. */
export function createDisk(path: string): string {
  const fd = openSync(path, 'w')
  ftruncateSync(fd, DISK_BYTES)
  const block = crypto.getRandomValues(new Uint8Array(2 ** 16))
  for (let at = 0; at < DISK_BYTES; at += block.length) writeSync(fd, block, 0, block.length, at)
  closeSync(fd)
  return path
}

/** Kernel and initrd files, mapped into memory. */
import { type Stats, statSync } from 'node:fs'
import { BadInput, SysError } from '../base/errors.ts'
import { Mapping } from '../host/mapping.ts'

/** No ArrayBuffer is larger, and no image is either. */
const MAX_IMAGE_BYTES = 2 ** 32 - 1

/** A file's contents; the mapping lives as long as the process. `option` names it in messages. */
export function mapImage(option: string, path: string): Uint8Array {
  const stat = lookUp(option, path)
  // The rig hands images over as block devices.
  if (!stat.isFile() && !stat.isBlockDevice()) throw new BadInput(`${option} ${path}: this is not a file`)
  if (stat.size > MAX_IMAGE_BYTES) throw new BadInput(`${option} ${path}: larger than 4 GiB`)
  try {
    return Mapping.file(path)?.bytes() ?? new Uint8Array(0)
  } catch (error) {
    if (error instanceof SysError)
      throw new BadInput(`${option} ${path}: cannot be read (${error.code})`, { cause: error })
    throw error
  }
}

function lookUp(option: string, path: string): Stats {
  try {
    return statSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const missing = code === 'ENOENT' || code === 'ENOTDIR'
    const reason = missing ? 'there is no such file' : `cannot be looked up (${code})`
    throw new BadInput(`${option} ${path}: ${reason}`, { cause: error })
  }
}

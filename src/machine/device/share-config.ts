/**
 * A directory to share, as it is configured, and the checks that need nothing of the host but the file system. Apart
 * from share.ts so that the command line can use it without loading what starts programs.
 */
import { type Stats, statSync } from 'node:fs'
import { BadInput } from '../../base/errors.ts'

export { systemVirtiofsd } from '../../backend/virtiofsd-path.ts'

/** A tag is 1 to 36 bytes of UTF-8. VIRTIO 1.2 §5.11.4. */
const MAX_TAG_BYTES = 36

/** A directory to share. In the guest: `mount -t virtiofs TAG /mnt`. */
export interface ShareConfig {
  readonly kind: 'share'
  readonly path: string
  readonly tag: string
  readonly readOnly?: boolean
  /** virtiofsd; absent: where it usually is. */
  readonly program?: string
}

/** Refuses a tag that the guest cannot be given. */
export function checkTag(tag: string): void {
  const size = new TextEncoder().encode(tag).length
  if (size < 1 || size > MAX_TAG_BYTES || tag.includes('\0'))
    throw new BadInput(`the tag of a share has 1 to ${MAX_TAG_BYTES} bytes, not ${size}: "${tag}"`)
}

/** Refuses what is no directory. */
export function checkFolder(path: string): void {
  if (stat(path)?.isDirectory() !== true) throw new BadInput(`cannot share ${path}: there is no such directory`)
}

function stat(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (cause) {
    // EACCES, ENOTDIR and the like.
    throw new BadInput(`cannot share ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/**
 * Writes cpio archives in the "newc" format that Linux unpacks as an initramfs (Documentation/driver-api/early-userspace
 * /buffer-format.rst). The same entries always give the same bytes: sorted by name, times 0, owner root.
 */
import { alignUp } from '../base/bits.ts'
import { BadInput } from '../base/errors.ts'

const MAGIC = '070701'
const HEADER_SIZE = 110
const TRAILER = 'TRAILER!!!'
const MAX_FILE = 0xffff_ffff

const S_IFMT = 0o170000
const S_IFIFO = 0o010000
const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFBLK = 0o060000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

interface Entry {
  readonly mode: number
  readonly data: Uint8Array
  readonly major: number
  readonly minor: number
}

/**
 * Collects entries, then gives the archive. Names are relative (`bin/sh`); missing parents become directories of 0755.
 *
 * @example new CpioBuilder().file('init', script, 0o755).device('dev/console', 'char', 5, 1, 0o600).build()
 */
export class CpioBuilder {
  private readonly entries = new Map<string, Entry>()

  directory(path: string, mode = 0o755): this {
    return this.add(path, S_IFDIR | mode)
  }

  file(path: string, data: Uint8Array | string, mode = 0o644): this {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
    if (bytes.length > MAX_FILE) throw new BadInput(`${path} is larger than the 4 GiB that a cpio archive can hold.`)
    return this.add(path, S_IFREG | mode, bytes)
  }

  symlink(path: string, target: string): this {
    return this.add(path, S_IFLNK | 0o777, new TextEncoder().encode(target))
  }

  fifo(path: string, mode = 0o600): this {
    return this.add(path, S_IFIFO | mode)
  }

  device(path: string, type: 'char' | 'block', major: number, minor: number, mode = 0o600): this {
    return this.add(path, (type === 'char' ? S_IFCHR : S_IFBLK) | mode, new Uint8Array(0), major, minor)
  }

  /** The archive. Its length is a multiple of 4, so another archive may follow at once. */
  build(): Uint8Array<ArrayBuffer> {
    // A parent is a prefix of its children, so plain code-unit order puts it before them, as the kernel needs.
    const names = [...this.entries.keys()].sort()
    const chunks: Uint8Array[] = []
    names.forEach((name, index) => {
      appendEntry(chunks, name, index + 1, this.entries.get(name)!)
    })
    appendEntry(chunks, TRAILER, 0, { mode: 0, data: new Uint8Array(0), major: 0, minor: 0 })
    const archive = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0))
    let at = 0
    for (const chunk of chunks) {
      archive.set(chunk, at)
      at += chunk.length
    }
    return archive
  }

  private add(path: string, mode: number, data: Uint8Array = new Uint8Array(0), major = 0, minor = 0): this {
    const parts = path.split('/')
    if (path === TRAILER || path.includes('\0') || parts.some(part => part === '' || part === '.' || part === '..'))
      throw new BadInput(`'${path}' cannot be a name in a cpio archive: use a relative path without '.' or '..'.`)
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join('/')
      if (!this.entries.has(parent)) this.directory(parent)
    }
    this.entries.set(path, { mode, data, major, minor })
    return this
  }
}

function appendEntry(chunks: Uint8Array[], name: string, ino: number, entry: Entry): void {
  const nameBytes = new TextEncoder().encode(name)
  // nlink above 1 on a file would make the kernel look for hard links.
  const nlink = (entry.mode & S_IFMT) === S_IFDIR ? 2 : 1
  const fields = [
    ino,
    entry.mode,
    0, // uid
    0, // gid
    nlink,
    0, // mtime
    entry.data.length,
    0, // device major
    0, // device minor
    entry.major,
    entry.minor,
    nameBytes.length + 1,
    0, // check, used by "070702" only
  ]
  const head = new Uint8Array(alignUp(HEADER_SIZE + nameBytes.length + 1, 4))
  const text = MAGIC + fields.map(field => field.toString(16).toUpperCase().padStart(8, '0')).join('')
  head.set(new TextEncoder().encode(text), 0)
  head.set(nameBytes, HEADER_SIZE)
  chunks.push(head, entry.data)
  const padding = alignUp(entry.data.length, 4) - entry.data.length
  if (padding > 0) chunks.push(new Uint8Array(padding))
}

/** The IOMMU's trace in a file: `--iommu-trace FILE`. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { BadInput } from '../base/errors.ts'

/** See above. When it cannot be written any more, that is said once, and the guest goes on without. */
export class TraceFile implements Disposable {
  private constructor(
    private readonly path: string,
    private fd: number | undefined,
    private readonly warn: (message: string) => void,
  ) {}

  /** Makes the file, or empties the one that is there; throws `BadInput` when it cannot. */
  static create(path: string, warn: (message: string) => void): TraceFile {
    try {
      return new TraceFile(path, openSync(path, 'w'), warn)
    } catch (error) {
      throw new BadInput(`cannot write the IOMMU's trace to ${path} (${codeOf(error)}): choose another --iommu-trace`)
    }
  }

  /** Whether lines still arrive in the file. */
  get isOpen(): boolean {
    return this.fd !== undefined
  }

  write(lines: string | Uint8Array): void {
    if (this.fd === undefined) return
    const bytes = typeof lines === 'string' ? new TextEncoder().encode(lines) : lines
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at)
    } catch (error) {
      this.close()
      this.warn(`the IOMMU's trace ends here: cannot write ${this.path}: ${sentenceOf(error)}`)
    }
  }

  close(): void {
    if (this.fd === undefined) return
    const { fd } = this
    this.fd = undefined
    closeSync(fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}

/** The call and its errno, as in "write failed: ENOSPC (errno 28)". */
function sentenceOf(error: unknown): string {
  const { syscall = 'write', code, errno = 0 } = error as NodeJS.ErrnoException
  return code === undefined ? String(error) : `${syscall} failed: ${code} (errno ${Math.abs(errno)})`
}

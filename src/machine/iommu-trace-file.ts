/** The IOMMU's trace in a file: `--iommu-trace FILE`. */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, type Stats, statSync, writeSync } from 'node:fs'
import { BadInput, SysError } from '../base/errors.ts'
import { lockFile } from '../host/file.ts'

/** How long a pipe's reader may take to read anything: all of this thread waits for it. */
const READER_LIMIT_MS = 2000
const PERMISSIONS = 0o666

/** See above. When it cannot be written any more, that is said once, and the guest goes on without. */
export class TraceFile implements Disposable {
  private constructor(
    private readonly path: string,
    private fd: number | undefined,
    private readonly warn: (message: string) => void,
    private readonly readerLimitMs: number,
  ) {}

  /** Makes the file, or empties the one that is there; throws `BadInput` when it cannot. */
  static create(path: string, warn: (message: string) => void, readerLimitMs = READER_LIMIT_MS): TraceFile {
    try {
      return new TraceFile(path, openFor(path), warn, readerLimitMs)
    } catch (error) {
      if (error instanceof BadInput) throw error
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
      writeAll(this.fd, bytes, this.readerLimitMs)
    } catch (error) {
      this.close()
      const why = codeOf(error) === 'EAGAIN' ? 'nobody reads it' : sentenceOf(error)
      this.warn(`the IOMMU's trace ends here: cannot write ${this.path}: ${why}`)
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

/** Empties a file only once it is ours: what another run writes is not lost. */
function openFor(path: string): number {
  const isPipe = lookUp(path)?.isFIFO() === true
  // To wait for a pipe's reader would be to hear no signal until there is one.
  const flags = constants.O_WRONLY | constants.O_CREAT | (isPipe ? constants.O_NONBLOCK : 0)
  let fd: number
  try {
    fd = openSync(path, flags, PERMISSIONS)
  } catch (error) {
    if (!isPipe || codeOf(error) !== 'ENXIO') throw error
    throw new BadInput(`cannot write the IOMMU's trace to ${path}: nobody reads this pipe yet, start its reader first`)
  }
  try {
    if (fstatSync(fd).isFile()) takeOver(fd, path)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function takeOver(fd: number, path: string): void {
  if (!isFree(fd))
    throw new BadInput(`cannot write the IOMMU's trace to ${path}: another run does, choose another --iommu-trace`)
  ftruncateSync(fd)
}

/** Locks the file until it is closed; one that cannot be locked counts as free. */
function isFree(fd: number): boolean {
  try {
    return lockFile(fd, true)
  } catch (error) {
    if (error instanceof SysError) return true
    throw error
  }
}

/** Throws when a pipe's reader does nothing for too long. */
function writeAll(fd: number, bytes: Uint8Array, readerLimitMs: number): void {
  let lastMs = performance.now()
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at)
      lastMs = performance.now()
    } catch (error) {
      if (codeOf(error) !== 'EAGAIN' || performance.now() > lastMs + readerLimitMs) throw error
      Bun.sleepSync(1)
    }
  }
}

function lookUp(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    // It is yet to be made, or opening it says what is wrong.
    return undefined
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

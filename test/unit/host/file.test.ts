import { constants, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { closeFd, openFd } from '../../../src/host/fd.ts'
import {
  allocate,
  blockGeometry,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  lockFile,
  readVector,
  syncData,
  unlockFile,
  writeVector,
} from '../../../src/host/file.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-file-'))
const PATH = join(DIRECTORY, 'file')
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

let fd: number
beforeEach(() => {
  writeFileSync(PATH, new Uint8Array(16384).fill(7))
  fd = openFd(PATH, constants.O_RDWR)
})
afterEach(() => closeFd(fd))

/** An iovec for `buffer`, which the caller keeps. */
function iovec(buffer: CBuffer): CBuffer {
  const list = new CBuffer(16)
  list.view.setBigUint64(0, BigInt(buffer.pointer as number), true)
  list.view.setBigUint64(8, BigInt(buffer.size), true)
  return list
}

describe('readVector and writeVector', () => {
  it('move bytes at an offset', () => {
    const buffer = CBuffer.of(new Uint8Array([1, 2, 3]))
    expect(writeVector(fd, iovec(buffer).pointer as number, 1, 100)).toBe(3)
    const back = new CBuffer(5)
    expect(readVector(fd, iovec(back).pointer as number, 1, 99, 0)).toBe(5)
    expect([...back.bytes]).toEqual([7, 1, 2, 3, 7])
  })

  it('answer with a negative errno', () => {
    expect(readVector(-1, 0, 0, 0, 0)).toBe(-9)
    expect(writeVector(fd, 1, 1, 0)).toBe(-14)
    expect(syncData(-1)).toBe(-9)
    expect(allocate(fd, 0x8000, 0, 1)).toBe(-95)
  })
})

describe('allocate', () => {
  it('punches a hole', () => {
    expect(allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192)).toBe(0)
    expect(statSync(PATH).size).toBe(16384)
    expect(readFileSync(PATH).subarray(8190, 8194)).toEqual(Buffer.from([0, 0, 7, 7]))
  })
})

describe('lockFile', () => {
  it.each([
    ['a writer', 'a writer', true, true, false],
    ['a reader', 'a writer', true, false, false],
    ['a writer', 'a reader', false, true, false],
    ['a reader', 'a reader', false, false, true],
  ])('lets %s in beside %s only if both read', (_a, _b, first, second, allowed) => {
    const other = openFd(PATH, constants.O_RDWR)
    expect(lockFile(fd, first)).toBe(true)
    expect(lockFile(other, second)).toBe(allowed)
    closeFd(other)
  })

  it('is undone by unlockFile', () => {
    const other = openFd(PATH, constants.O_RDWR)
    lockFile(fd, true)
    unlockFile(fd)
    expect(lockFile(other, true)).toBe(true)
    closeFd(other)
  })

  it('throws where the descriptor cannot have such a lock', () => {
    const reader = openFd(PATH, constants.O_RDONLY)
    expect(() => lockFile(reader, true)).toThrow('fcntl(F_OFD_SETLK) failed: EBADF')
    closeFd(reader)
  })
})

describe('blockGeometry', () => {
  it('names the call that a plain file refuses', () => {
    expect(() => blockGeometry(fd)).toThrow('ioctl(BLKGETSIZE64) failed: ENOTTY')
  })
})

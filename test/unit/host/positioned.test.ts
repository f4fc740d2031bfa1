import { constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EINVAL } from '../../../src/host/errno.ts'
import { closeFd, openFd } from '../../../src/host/fd.ts'
import { Mapping } from '../../../src/host/mapping.ts'
import { readAt, writeAt } from '../../../src/host/positioned.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-positioned-'))
const PATH = join(DIRECTORY, 'file')
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

let fd: number
beforeEach(() => {
  writeFileSync(
    PATH,
    Uint8Array.from({ length: 12288 }, (_, index) => index >>> 4),
  )
  fd = openFd(PATH, constants.O_RDWR)
})
afterEach(() => closeFd(fd))

describe('readAt', () => {
  it('reads as many bytes as there are from a place on', () => {
    const buffer = new CBuffer(8)
    expect(readAt(fd, buffer, 4, 0x7f)).toBe(4)
    expect([...buffer.bytes]).toEqual([7, 8, 8, 8, 0, 0, 0, 0])
    expect(readAt(fd, buffer, 8, 12286)).toBe(2)
    expect(readAt(fd, buffer, 8, 2 ** 42)).toBe(0)
  })

  it('answers with a negative errno', () => {
    expect(readAt(fd, new CBuffer(8), 4, -1)).toBe(-EINVAL)
  })
})

describe('writeAt', () => {
  it('writes the first bytes at a place', () => {
    const buffer = CBuffer.of(Uint8Array.of(0xaa, 0xbb, 0xcc))
    expect(writeAt(fd, buffer, 2, 4096)).toBe(2)
    expect([...readFileSync(PATH).subarray(4095, 4099)]).toEqual([0xff, 0xaa, 0xbb, 0])
  })
})

describe('Mapping.device', () => {
  it('maps a part of a file from its offset on', () => {
    using mapping = Mapping.device(fd, 4096, 4096, true)
    mapping.bytes()[5] = 0xaa
    expect(readFileSync(PATH)[4101]).toBe(0xaa)
  })

  it('names the call for an offset that is no page', () => {
    expect(() => Mapping.device(fd, 100, 4096, false)).toThrow('mmap failed: EINVAL')
  })
})

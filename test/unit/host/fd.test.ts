import { constants, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CBuffer } from '../../../src/host/c-buffer.ts'
import { EventFd } from '../../../src/host/eventfd.ts'
import { closeFd, openFd, readFd, setNonBlocking, writeAll } from '../../../src/host/fd.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-fd-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

describe('writeAll', () => {
  it('writes every byte', () => {
    const path = join(DIRECTORY, 'file')
    const bytes = new Uint8Array(300_000).map((_, index) => index)
    const fd = openFd(path, constants.O_WRONLY | constants.O_CREAT)
    writeAll(fd, bytes)
    closeFd(fd)
    expect(readFileSync(path).equals(bytes)).toBe(true)
  })
})

describe('readFd', () => {
  it('gives the bytes that are there, then 0 at the end', () => {
    const path = join(DIRECTORY, 'short')
    const out = openFd(path, constants.O_WRONLY | constants.O_CREAT)
    writeAll(out, new TextEncoder().encode('abc'))
    closeFd(out)
    const fd = openFd(path, constants.O_RDONLY)
    const buffer = new CBuffer(16)
    expect(readFd(fd, buffer)).toBe(3)
    expect(new TextDecoder().decode(buffer.bytes.subarray(0, 3))).toBe('abc')
    expect(readFd(fd, buffer)).toBe(0)
    closeFd(fd)
  })

  it('gives nothing where a non-blocking descriptor has nothing yet', () => {
    using event = EventFd.create()
    setNonBlocking(event.fd, true)
    expect(readFd(event.fd, new CBuffer(8))).toBeUndefined()
  })

  it('names the call that failed', () => {
    expect(() => readFd(-1, new CBuffer(8))).toThrow('read failed: EBADF')
  })
})

describe('CBuffer', () => {
  it('keeps its address when its bytes are used', () => {
    const buffer = CBuffer.of(new Uint8Array([1, 2, 3]))
    const before = buffer.pointer
    buffer.view.setUint8(0, 9)
    expect(buffer.bytes.buffer).toBe(buffer.buffer)
    expect([...buffer.bytes]).toEqual([9, 2, 3])
    expect(buffer.pointer).toBe(before)
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { closeFd } from '../../../src/host/fd.ts'
import { createMemfd, Mapping, viewAt } from '../../../src/host/mapping.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-mapping-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

describe('Mapping.shared', () => {
  it('shows every mapping of a memfd the same bytes', () => {
    const fd = createMemfd('test', 8192)
    using first = Mapping.shared(fd, 8192)
    using second = Mapping.shared(fd, 8192)
    closeFd(fd)
    first.bytes()[5000] = 42
    expect(second.bytes(4096)[904]).toBe(42)
    expect(new Uint8Array(viewAt(second.address + 5000, 1))[0]).toBe(42)
  })

  it('names the call for a descriptor that cannot be mapped', () => {
    expect(() => Mapping.shared(-1, 4096)).toThrow('mmap failed: EBADF')
  })
})

describe('Mapping.file', () => {
  it('maps the contents of a file', () => {
    const path = join(DIRECTORY, 'file')
    writeFileSync(path, 'contents')
    using mapping = Mapping.file(path)
    expect(new TextDecoder().decode(mapping!.bytes())).toBe('contents')
  })

  it('has nothing for an empty file', () => {
    const path = join(DIRECTORY, 'empty')
    writeFileSync(path, '')
    expect(Mapping.file(path)).toBeUndefined()
  })

  it('names the file that is missing', () => {
    expect(() => Mapping.file('/nowhere/file')).toThrow('open /nowhere/file failed: ENOENT')
  })
})

describe('createMemfd', () => {
  it('names the size that the host refuses', () => {
    expect(() => createMemfd('test', -1)).toThrow('ftruncate(memfd, -1) failed: EINVAL')
  })
})

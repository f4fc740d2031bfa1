import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { TraceFile } from '../../../src/machine/iommu-trace-file.ts'
import { NamedPipe } from '../../support/named-pipe.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-test-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('TraceFile', () => {
  it('writes lines as they come, over what was there', () => {
    const path = join(folder, 'trace')
    writeFileSync(path, 'old text')
    const file = TraceFile.create(path, () => {})
    file.write('a\n')
    file.write(new TextEncoder().encode('b\n'))
    expect(readFileSync(path, 'utf8')).toBe('a\nb\n')
    file.close()
    file.close()
  })

  it.each([
    ['/nowhere/trace', 'ENOENT'],
    ['/', 'EISDIR'],
    ['/proc/self/status/trace', 'ENOTDIR'],
  ])('refuses %s', (path, code) => {
    expect(() => TraceFile.create(path, () => {})).toThrow(
      new BadInput(`cannot write the IOMMU's trace to ${path} (${code}): choose another --iommu-trace`),
    )
  })

  it('says once when it cannot write, with call and errno, and then writes no more', () => {
    const warnings: string[] = []
    const file = TraceFile.create('/dev/full', warning => warnings.push(warning))
    expect(file.isOpen).toBe(true)
    file.write('a\n')
    file.write('b\n')
    expect(warnings).toEqual(["the IOMMU's trace ends here: cannot write /dev/full: write failed: ENOSPC (errno 28)"])
    expect(file.isOpen).toBe(false)
  })

  it('refuses a file that another run writes, and leaves it as it is', () => {
    const path = join(folder, 'trace')
    using file = TraceFile.create(path, () => {})
    file.write('a\n')
    expect(() => TraceFile.create(path, () => {})).toThrow(
      new BadInput(`cannot write the IOMMU's trace to ${path}: another run does, choose another --iommu-trace`),
    )
    expect(readFileSync(path, 'utf8')).toBe('a\n')
  })

  it('goes twice where nothing is kept', () => {
    using first = TraceFile.create('/dev/null', () => {})
    using second = TraceFile.create('/dev/null', () => {})
    expect([first.isOpen, second.isOpen]).toEqual([true, true])
  })

  it('does not wait for the reader of a pipe', () => {
    using pipe = new NamedPipe()
    expect(() => TraceFile.create(pipe.path, () => {})).toThrow(
      new BadInput(
        `cannot write the IOMMU's trace to ${pipe.path}: nobody reads this pipe yet, start its reader first`,
      ),
    )
  })

  it('writes to a pipe as long as its reader reads', () => {
    using pipe = new NamedPipe()
    const reader = openSync(pipe.path, constants.O_RDONLY | constants.O_NONBLOCK)
    const warnings: string[] = []
    using file = TraceFile.create(pipe.path, warning => warnings.push(warning), 0)
    file.write('a\n')
    const buffer = new Uint8Array(16)
    expect(buffer.subarray(0, readSync(reader, buffer))).toEqual(new TextEncoder().encode('a\n'))
    file.write(new Uint8Array(2 ** 20))
    expect(warnings).toEqual([`the IOMMU's trace ends here: cannot write ${pipe.path}: nobody reads it`])
    closeSync(reader)
  })
})

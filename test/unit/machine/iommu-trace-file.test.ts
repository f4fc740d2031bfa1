import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { TraceFile } from '../../../src/machine/iommu-trace-file.ts'

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
})

import { linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkOutputs } from '../../../src/cli/output-files.ts'
import { parseRun } from '../../../src/cli/run-options.ts'
import { Assembler } from '../../support/micro-guest.ts'
import { refusalWith, tryCommand } from '../../support/refusal.ts'

let folder: string
const path = (name: string) => join(folder, name)
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bulkhead-outputs-'))
  writeFileSync(path('kernel'), new Assembler().spin().image())
  writeFileSync(path('disk'), new Uint8Array(4096))
  symlinkSync(path('kernel'), path('symlink'))
  linkSync(path('disk'), path('link'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const check = (...words: string[]) => checkOutputs(parseRun(['--iommu', 'all,topology=both', ...words]))

describe('checkOutputs', () => {
  it.each([
    ['the kernel', () => ['-k', path('kernel'), '--iommu-trace', path('kernel')], '--kernel reads'],
    ['the kernel by a link', () => ['-k', path('kernel'), '--dump-dtb', path('symlink')], '--kernel reads'],
    ['the initrd', () => ['-k', 'k', '-i', path('disk'), '--dump-dtb', path('disk')], '--initrd reads'],
    ['a disk', () => ['-d', 'other', '-d', `${path('disk')},ro`, '--iommu-trace', path('disk')], '--disk reads'],
    ['a disk by another name', () => ['-d', path('disk'), '--iommu-trace', path('link')], '--disk reads'],
    [
      'a disk by another path',
      () => ['-d', path('disk'), '--iommu-trace', relative(process.cwd(), path('disk'))],
      '--disk reads',
    ],
    ['each other, before there is a file', () => ['--iommu-trace', 'x', '--dump-dtb', './x'], '--iommu-trace writes'],
  ])('refuses a file that is %s', (_, words, phrase) => {
    expect(() => check(...words())).toThrow(`is a file that ${phrase}: choose another one`)
  })

  it.each([
    ['other files', () => ['-k', path('kernel'), '-d', path('disk'), '--iommu-trace', 'x', '--dump-dtb', 'y']],
    ['nowhere, twice', () => ['--iommu-trace', '/dev/null', '--dump-dtb', '/dev/null']],
    ['where nothing can be', () => ['-d', '/dev/null/disk', '--iommu-trace', '/dev/null/x']],
  ])('takes %s', (_, words) => {
    expect(() => check(...words())).not.toThrow()
  })
})

describe('bulkhead run', () => {
  const run = (...words: string[]) => tryCommand(['run', '--host', 'kvm', '-k', path('kernel'), '-m', '16', ...words])

  it('leaves a kernel alone that is to be its trace as well', async () => {
    const before = readFileSync(path('kernel'))
    const refused = await run('--iommu', 'all', '--iommu-trace', path('symlink'))
    expect(refused).toEqual(refusalWith('--iommu-trace'))
    expect(readFileSync(path('kernel'))).toEqual(before)
  })

  it('dumps nothing for a machine that it refuses', async () => {
    const dump = path('dump')
    writeFileSync(dump, 'before')
    const refused = await run('--iommu', 'all,topology=both', '--dump-dtb', dump)
    expect(refused).toEqual(refusalWith('is entered by multiboot, which takes no device tree'))
    expect(readFileSync(dump, 'utf8')).toBe('before')
  })

  it('says before it fetches a guest that there is no device tree to dump', async () => {
    const refused = await tryCommand(['run', '--host', 'kvm', '--dump-dtb', path('dump'), '--', 'true'])
    expect(refused).toEqual(refusalWith('--dump-dtb: the guest gets no device tree'))
  })
})

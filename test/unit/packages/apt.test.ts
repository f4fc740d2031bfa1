import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentProgress } from '../../../src/base/progress.ts'
import { Apt } from '../../../src/packages/apt.ts'

const SYSTEM_PATH = process.env['PATH'] ?? ''
const INSTEAD = 'pass --kernel and --initrd'

let folder = ''
let programs = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'apt-'))
  programs = join(folder, 'programs')
  mkdirSync(programs)
})

afterEach(() => {
  process.env['PATH'] = SYSTEM_PATH
  rmSync(folder, { recursive: true })
})

function addProgram(name: string, script: string) {
  const path = join(programs, name)
  writeFileSync(path, `#!/bin/sh\necho "${name} $*" >>${folder}/log\n${script}\n`)
  chmodSync(path, 0o755)
}

/** A mirror: apt-get knows nothing before `update`; one package in two versions and one with another ending. */
function addApt() {
  addProgram(
    'apt-cache',
    `[ -e ${folder}/updated ] || exit 0
    case "$*" in
      *pkgnames*) printf 'k-9.1\\nk-10.1\\nk-10.1-dbg\\n' ;;
      *show*) echo 'Version: 1:2-3' ;;
    esac`,
  )
  addProgram(
    'apt-get',
    `case "$*" in
      *update*) : >${folder}/updated ;;
      *--print-uris*) echo "'http://x/k' k-10.1_1%3a2-3_all.deb 4 SHA256:0" ;;
      *download*) echo data >k-10.1_1%3a2-3_all.deb ;;
    esac`,
  )
  addProgram('dpkg-deb', `echo unpacked >"$3/file"`)
}

const unpack = (pattern: string) =>
  Apt.with(join(folder, 'apt'), silentProgress, INSTEAD, apt =>
    apt.unpack(pattern, join(folder, 'target'), { dependencies: false }),
  )
const calls = () => readFileSync(join(folder, 'log'), 'utf8')

describe('Apt', () => {
  it('says what to do where apt is missing', async () => {
    process.env['PATH'] = programs

    await expect(unpack('k-*')).rejects.toThrow(`apt-get is not installed: ${INSTEAD}`)
  })

  it('takes the newest package that matches the whole pattern, and unpacks it', async () => {
    addApt()
    process.env['PATH'] = `${programs}:${SYSTEM_PATH}`

    expect(await unpack('k-*.1')).toBe('k-10.1')
    expect(readFileSync(join(folder, 'target/file'), 'utf8')).toBe('unpacked\n')
  })

  it('fetches the lists when a package is not found, and not again', async () => {
    addApt()
    process.env['PATH'] = `${programs}:${SYSTEM_PATH}`

    await unpack('k-*.1')
    await unpack('k-*.1')

    expect(calls().match(/^apt-get .* update/gm)).toHaveLength(1)
  })

  it('names a pattern that no source has', async () => {
    addApt()
    process.env['PATH'] = `${programs}:${SYSTEM_PATH}`

    await expect(unpack('other-*')).rejects.toThrow('no package other-*')
    expect(existsSync(join(folder, 'target'))).toBe(false)
  })
})

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { jobCpio, jobFragment } from '../../../src/guest/job.ts'

const SHELLS = ['/bin/sh', '/bin/bash', '/bin/busybox'].filter(shell => existsSync(shell))
/** Every code point up to U+07FF but NUL: all byte values that UTF-8 has in its first and second place. */
const ALL = Array.from({ length: 0x7ff }, (_, index) => String.fromCodePoint(index + 1)).join('')

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'job-'))
})

afterEach(() => rmSync(folder, { recursive: true }))

/** What the shell makes of the fragment: the positional parameters, each ended by NUL. */
function argvIn(shell: string, argv: readonly string[]): string[] {
  const path = join(folder, 'job')
  writeFileSync(path, jobFragment(argv, { terminal: undefined }))
  const script = `. ${path}; for word in "$@"; do printf '%s\\0' "$word"; done`
  const applet = shell.endsWith('busybox') ? ['sh'] : []
  const result = spawnSync(shell, [...applet, '-c', script, 'sh', 'old'], { encoding: 'utf8' })
  return result.stdout.split('\0').slice(0, -1)
}

describe.each(SHELLS)('jobFragment in %s', shell => {
  it.each([
    [['uname', '-a']],
    [['']],
    [['a b', '', "it's", "''", '"$HOME"', '`id`', '\\', '$(id)', '*', '-x', '!', '#', '~']],
    [['line\nbreak\n', '\ttab', '\r', '\x7f']],
    [[ALL]],
    [Array.from({ length: 300 }, (_, index) => `${index}`)],
  ])('gives back %j', argv => {
    expect(argvIn(shell, argv)).toEqual(argv)
  })
})

describe('jobFragment', () => {
  it('says that the command has a terminal', () => {
    expect(jobFragment(['a'], { terminal: { rows: 1, cols: 2 } })).toBe("BULKHEAD_STDIN=tty\nset -- 'a'\n")
  })

  it('exports the environment before the command', () => {
    expect(jobFragment(['a'], { terminal: undefined, env: { TZ: 'a b' } })).toBe(
      "BULKHEAD_STDIN=pipe\nexport TZ='a b'\nset -- 'a'\n",
    )
  })

  it('refuses no command', () => {
    expect(() => jobFragment([], { terminal: undefined })).toThrow('No command was given')
  })

  it('refuses a NUL', () => {
    expect(() => jobFragment(['a\0b'], { terminal: undefined })).toThrow('NUL character')
  })

  it('refuses a name that would be shell text', () => {
    expect(() => jobFragment(['a'], { terminal: undefined, env: { 'x;id': '' } })).toThrow('cannot name')
  })
})

describe('jobCpio', () => {
  const names = (archive: Uint8Array) => new TextDecoder('latin1').decode(archive)

  it('holds a job for a command, at a length that another part may follow', () => {
    const archive = jobCpio({ argv: ['true'], terminal: undefined })

    expect(names(archive)).toContain('bulkhead/job\0')
    expect(archive.length % 4).toBe(0)
  })

  it('tells of shared folders and the network, in a setup that a command and a shell both have', () => {
    const rest = { terminal: undefined, shares: ['a', 'b'], network: 'user' } as const
    const setup = "BULKHEAD_SHARES='a b'\nBULKHEAD_NETWORK=user\n"
    expect(names(jobCpio({ argv: ['true'], ...rest }))).toContain(setup)
    expect(names(jobCpio({ argv: undefined, ...rest }))).toContain(setup)
    expect(names(jobCpio({ argv: undefined, ...rest }))).toContain('bulkhead/setup\0')
  })

  it('holds only the terminal for an interactive shell', () => {
    const archive = jobCpio({ argv: undefined, terminal: { rows: 33, cols: 99 }, term: "x'y" })

    expect(names(archive)).not.toContain('bulkhead/job\0')
    expect(names(archive)).toContain("BULKHEAD_ROWS=33\nBULKHEAD_COLS=99\nBULKHEAD_TERM='x'\\''y'\n")
  })
})

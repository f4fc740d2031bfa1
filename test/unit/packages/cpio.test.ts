import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CpioBuilder } from '../../../src/packages/cpio.ts'
import { describeUnless } from '../../support/skip.ts'

const missingCpio = spawnSync('cpio', ['--version']).status === 0 ? undefined : 'cpio is not installed'
const text = (bytes: Uint8Array) => new TextDecoder('latin1').decode(bytes)

describe('CpioBuilder', () => {
  it('writes the newc header, name and data byte for byte', () => {
    const archive = new CpioBuilder().file('a', 'hi\n', 0o755).build()

    expect(text(archive)).toBe(
      '070701' +
        '00000001000081ED00000000000000000000000100000000' + // ino mode uid gid nlink mtime
        '00000003' + // file size
        '00000000000000000000000000000000' + // device and rdevice
        '00000002' + // name size
        '00000000' +
        'a\0' +
        'hi\n\0' +
        '070701' +
        '00000000000000000000000000000000000000010000000000000000' +
        '00000000000000000000000000000000' +
        '0000000B00000000TRAILER!!!\0\0\0\0',
    )
  })

  it('writes the device number and mode of a node', () => {
    const archive = text(new CpioBuilder().device('console', 'char', 5, 1, 0o600).build())

    expect(archive.slice(6 + 8, 6 + 16)).toBe('00002180')
    expect(archive.slice(6 + 9 * 8, 6 + 11 * 8)).toBe('0000000500000001')
  })

  it('gives the same bytes whatever the order of entries', () => {
    const forward = new CpioBuilder().file('b/c', '1').symlink('a', 'b').directory('b')
    const backward = new CpioBuilder().directory('b').symlink('a', 'b').file('b/c', '1')

    expect(backward.build()).toEqual(forward.build())
  })

  it('puts a directory before what it holds, also beside a name that sorts before the slash', () => {
    const archive = text(new CpioBuilder().file('lib/x', '').file('lib-a', '').build())

    expect(archive.indexOf('lib\0')).toBeLessThan(archive.indexOf('lib/x\0'))
  })

  it.each(['/abs', 'a/../b', './a', 'a//b', '', 'TRAILER!!!', 'a\0b'])('refuses the name %j', name => {
    expect(() => new CpioBuilder().file(name, '')).toThrow('cannot be a name in a cpio archive')
  })
})

describeUnless(missingCpio, 'an archive', () => {
  it('is unpacked by cpio with contents, modes, links and fifos', () => {
    const folder = mkdtempSync(join(tmpdir(), 'cpio-'))
    const data = Uint8Array.from({ length: 70_001 }, (_, index) => (index * 7) & 0xff)
    const archive = new CpioBuilder()
      .file('bin/busybox', data, 0o755)
      .symlink('bin/sh', 'busybox')
      .fifo('run/out')
      .directory('root', 0o700)
      .build()

    const unpacked = spawnSync('cpio', ['-idv', '--quiet'], { cwd: folder, input: archive, encoding: 'utf8' })

    expect(unpacked.stderr.trim().split('\n')).toEqual(['bin', 'bin/busybox', 'bin/sh', 'root', 'run', 'run/out'])
    expect(new Uint8Array(readFileSync(join(folder, 'bin/sh')))).toEqual(data)
    expect(statSync(join(folder, 'bin/busybox')).mode & 0o777).toBe(0o755)
    expect(statSync(join(folder, 'root')).mode & 0o777).toBe(0o700)
    expect(statSync(join(folder, 'run/out')).isFIFO()).toBe(true)
    rmSync(folder, { recursive: true })
  })
})

import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { type Job, jobScript, newMarker, shellQuote } from '../../../src/rig/job.ts'

const JOB: Job = { command: ['true'], env: {}, slots: [], connection: 'pipes', clockMs: 0, marker: 'end' }

/** Sources the script in a shell, runs `then`, and gives what that prints. */
function source(job: Job, then: string): string {
  return execFileSync('/bin/sh', ['-c', `${jobScript(job)}\n${then}`]).toString()
}

describe('jobScript', () => {
  it.each([
    [['echo', "it's", 'a "b" $HOME `id` \\ *']],
    [['echo', '', ' leading', 'line\nbreak']],
    [['echo', '-n', ';', '&', '|', '(', '#']],
    [['echo', 'grüße', '\x01\x7f']],
  ])('gives the command the very arguments %j', words => {
    const command = ['printf', '%s\\0', ...words]
    expect(
      source({ ...JOB, command }, 'command_line')
        .split('\0')
        .slice(0, -1),
    ).toEqual(words)
  })

  it('sets the environment of the command', () => {
    const job = { ...JOB, env: { NAME: `a'b "c"\n$d` }, command: ['sh', '-c', 'printf %s "$NAME"'] }
    expect(source(job, 'command_line')).toBe(`a'b "c"\n$d`)
  })

  it('names drives, clock and marker', () => {
    const job = { ...JOB, slots: ['04', '05'], clockMs: 1_700_000_000_400, marker: 'a b' }
    expect(source(job, 'echo "$DISKS|$CLOCK|$MARK|$MODE"')).toBe('04 05|1700000000|a b|pipes\n')
  })

  it('names archives, folders and the network only where the job has them', () => {
    const print = 'echo "$ARCHIVES|$FOLDERS|$NETWORK"'
    expect(source(JOB, print)).toBe('||\n')
    const job = { ...JOB, archives: ['/dev/vdc', '/dev/vdd'], folders: ['a', 'b'], network: true }
    expect(source(job, print)).toBe('/dev/vdc /dev/vdd|a b|1\n')
  })

  it('describes a terminal with its size', () => {
    expect(source({ ...JOB, connection: { rows: 33, columns: 99 } }, 'echo "$MODE $ROWS $COLUMNS"')).toBe(
      'terminal 33 99\n',
    )
  })

  it('gives 127 for a command that is not there', () => {
    const job = { ...JOB, command: ['/nonexistent/program'] }
    expect(source(job, '(command_line) 2>/dev/null; echo $?')).toBe('127\n')
  })

  it('brings other random bytes each time', () => {
    const entropy = () => source(JOB, 'echo "$ENTROPY"')
    expect(entropy()).not.toBe(entropy())
  })

  it('refuses a variable name that is more than a name', () => {
    expect(() => jobScript({ ...JOB, env: { 'A;reboot': '1' } })).toThrow(BadInput)
  })
})

describe('shellQuote', () => {
  it('refuses a NUL byte', () => {
    expect(() => shellQuote('a\0b')).toThrow(BadInput)
  })
})

describe('newMarker', () => {
  it('is never the same twice', () => {
    expect(newMarker()).not.toBe(newMarker())
  })

  it('contains nothing that a shell or printf would change', () => {
    expect(newMarker().slice(1)).toMatch(/^bulkhead-end-[0-9a-f]{32}\n$/)
  })
})

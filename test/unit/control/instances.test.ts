import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { BadInput, HostError } from '../../../src/base/errors.ts'
import { instanceDirectory, isAlive, runningInstances, socketPath } from '../../../src/control/instances.ts'
import { ControlServer } from '../../../src/control/server.ts'
import { leaveStaleSocket } from '../../support/stale-socket.ts'

let runtime = ''

beforeEach(() => {
  runtime = mkdtempSync(join(tmpdir(), 'bulkhead-run-'))
  vi.stubEnv('XDG_RUNTIME_DIR', runtime)
})

afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(runtime, { recursive: true })
})

const nothing = async () => null

describe('instanceDirectory', () => {
  it('is made where the user keeps such things, closed to others', () => {
    expect(instanceDirectory()).toBe(join(runtime, 'bulkhead'))
    expect(lstatSync(instanceDirectory()).mode & 0o777).toBe(0o700)
  })

  it('closes a directory that others could enter', () => {
    mkdirSync(join(runtime, 'bulkhead'))
    chmodSync(join(runtime, 'bulkhead'), 0o777)
    expect(lstatSync(instanceDirectory()).mode & 0o777).toBe(0o700)
  })

  it.each([
    ['a link to a directory', (path: string) => symlinkSync(tmpdir(), path)],
    ['a link to nothing', (path: string) => symlinkSync(join(path, 'nowhere'), path)],
    ['a file', (path: string) => writeFileSync(path, '')],
  ])('is refused when it is %s', (_, make) => {
    make(join(runtime, 'bulkhead'))
    expect(() => instanceDirectory()).toThrow(HostError)
    expect(() => instanceDirectory()).toThrow('is not a directory of yours: remove it')
  })

  it('says which directory it cannot make', () => {
    vi.stubEnv('XDG_RUNTIME_DIR', '/proc/nowhere')
    expect(() => instanceDirectory()).toThrow(HostError)
    expect(() => instanceDirectory()).toThrow('cannot make /proc/nowhere/bulkhead (ENOENT): set XDG_RUNTIME_DIR')
  })
})

describe('socketPath', () => {
  it.each(['a', 'guest-1', '_x.y', 'A'.repeat(20)])('takes the name %j', name => {
    expect(socketPath(name)).toBe(join(runtime, 'bulkhead', `${name}.sock`))
  })

  it.each(['', '.', '..', '../x', 'a/b', '-x', 'a b', 'a\n', 'ä', 'a\0'])('refuses the name %j', name => {
    expect(() => socketPath(name)).toThrow(BadInput)
    expect(() => socketPath(name)).toThrow('is no instance name')
  })

  it('refuses a name that makes the path longer than a socket address', () => {
    const room = 107 - join(runtime, 'bulkhead', '.sock').length
    expect(socketPath('x'.repeat(room))).toHaveLength(107)
    expect(() => socketPath('x'.repeat(room + 1))).toThrow('is too long: use a shorter one')
  })
})

describe('isAlive', () => {
  it('finds a listening instance and leaves its socket', async () => {
    const server = await ControlServer.listen('one', nothing)
    expect(await isAlive('one')).toBe(true)
    expect(existsSync(server.path)).toBe(true)
    server.close()
  })

  it('removes the socket of a process that is gone', async () => {
    leaveStaleSocket(socketPath('stale'))
    expect(existsSync(socketPath('stale'))).toBe(true)
    expect(await isAlive('stale')).toBe(false)
    expect(existsSync(socketPath('stale'))).toBe(false)
  })

  it('says no for a name that nobody used', async () => {
    expect(await isAlive('nobody')).toBe(false)
  })
})

describe('runningInstances', () => {
  it('lists those that answer, sorted, and tidies up the others', async () => {
    const servers = [await ControlServer.listen('b', nothing), await ControlServer.listen('a', nothing)]
    leaveStaleSocket(socketPath('stale'))
    writeFileSync(join(instanceDirectory(), 'notes.txt'), '')
    expect(await runningInstances()).toEqual(['a', 'b'])
    expect(readdirSync(instanceDirectory()).sort()).toEqual(['a.sock', 'b.sock', 'notes.txt'])
    for (const server of servers) server.close()
    expect(await runningInstances()).toEqual([])
  })
})

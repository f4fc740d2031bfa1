import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { BadInput } from '../../../../src/base/errors.ts'
import { EventLoop } from '../../../../src/host/event-loop.ts'
import { connectUnix } from '../../../../src/host/socket.ts'
import type { DeviceEnvironment } from '../../../../src/machine/device/environment.ts'
import { openVsock } from '../../../../src/machine/device/vsock.ts'
import { createVsock } from '../../../../src/machine/device/vsock-device.ts'
import { deviceHarness } from '../../../support/device-harness.ts'
import { HostProgram } from '../../../support/host-program.ts'
import { leaveStaleSocket } from '../../../support/stale-socket.ts'
import { VsockGuest } from '../../../support/vsock-guest.ts'

const FOLDER = mkdtempSync(join(tmpdir(), 'vsock-'))
afterAll(() => rmSync(FOLDER, { recursive: true }))

const pathOf = (name: string) => join(FOLDER, name)
const refusal = (act: () => unknown): unknown => {
  try {
    return act()
  } catch (error) {
    return error
  }
}

describe('openVsock', () => {
  it('listens, and removes its socket when it is closed', async () => {
    const path = pathOf('a')
    const { plan, resources } = openVsock({ kind: 'vsock', cid: 3, path })
    expect(plan).toMatchObject({ cid: 3, path })
    new HostProgram(connectUnix(path))[Symbol.dispose]()
    await resources[Symbol.asyncDispose]()
    expect(existsSync(path)).toBe(false)
  })

  it('takes the place of a socket whose process has died', async () => {
    const path = pathOf('stale')
    leaveStaleSocket(path)
    const { resources } = openVsock({ kind: 'vsock', cid: 3, path })
    new HostProgram(connectUnix(path))[Symbol.dispose]()
    await resources[Symbol.asyncDispose]()
  })

  it('leaves a socket alone that somebody else has put in its place', async () => {
    const path = pathOf('b')
    const first = openVsock({ kind: 'vsock', cid: 3, path })
    renameSync(path, pathOf('moved'))
    const second = openVsock({ kind: 'vsock', cid: 4, path })
    await first.resources[Symbol.asyncDispose]()
    expect(existsSync(path)).toBe(true)
    await second.resources[Symbol.asyncDispose]()
    expect(existsSync(path)).toBe(false)
  })

  it('refuses a path where another process listens', async () => {
    const path = pathOf('live')
    const { resources } = openVsock({ kind: 'vsock', cid: 3, path })
    const error = refusal(() => openVsock({ kind: 'vsock', cid: 4, path }))
    expect(error).toBeInstanceOf(BadInput)
    expect(String(error)).toContain('is in use by another process')
    expect(existsSync(path)).toBe(true)
    await resources[Symbol.asyncDispose]()
  })

  it('refuses a path where there is something else', () => {
    const path = pathOf('file')
    writeFileSync(path, 'precious')
    const error = refusal(() => openVsock({ kind: 'vsock', cid: 3, path }))
    expect(error).toBeInstanceOf(BadInput)
    expect(existsSync(path)).toBe(true)
  })

  it.each([
    ['the host’s context id', 2, pathOf('c')],
    ['a negative context id', -1, pathOf('c')],
    ['a context id of more than 32 bits', 2 ** 32, pathOf('c')],
    ['the context id for any', 2 ** 32 - 1, pathOf('c')],
    ['half a context id', 3.5, pathOf('c')],
    ['no path', 3, ''],
    ['a path in a folder that is not there', 3, pathOf('absent/c')],
    ['a path that leaves no room for ports', 3, `/${'x'.repeat(100)}`],
  ])('refuses %s with one sentence', (_, cid, path) => {
    const error = refusal(() => openVsock({ kind: 'vsock', cid, path }))
    expect(error).toBeInstanceOf(BadInput)
    expect((error as Error).message).not.toContain('\n')
    expect(existsSync(pathOf('c'))).toBe(false)
  })
})

describe('createVsock', () => {
  it('makes a device that answers at the path', async () => {
    const path = pathOf('d')
    const { plan, resources } = openVsock({ kind: 'vsock', cid: 3, path })
    using loop = new EventLoop()
    const device = createVsock(plan, { loop, warn: () => {} } as unknown as DeviceEnvironment)
    const harness = deviceHarness(device, { real: true })
    const guest = new VsockGuest(harness)
    guest.offer(1)
    using program = HostProgram.connect(path)
    program.write(new TextEncoder().encode('CONNECT 22\n'))
    loop.wait(1000)
    loop.wait(1000)
    expect(guest.hear()).toMatchObject([{ op: 1, dstPort: 22 }])
    expect([...device.config]).toEqual([3, 0, 0, 0, 0, 0, 0, 0])
    harness[Symbol.dispose]()
    expect(program.isAtEnd).toBe(true)
    await resources[Symbol.asyncDispose]()
  })
})

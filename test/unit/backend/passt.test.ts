import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { constants, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Passt, type PasstOptions } from '../../../src/backend/passt.ts'
import { UserNetworkBackend } from '../../../src/backend/user-network.ts'
import { EventLoop } from '../../../src/host/event-loop.ts'
import { VirtioNet } from '../../../src/virtio/net.ts'
import { deviceHarness } from '../../support/device-harness.ts'
import { fileServer } from '../../support/file-server.ts'
import { firstLine } from '../../support/first-line.ts'
import { GuestNetwork } from '../../support/guest-network.ts'
import { missingPasst } from '../../support/passt.ts'
import { describeUnless } from '../../support/skip.ts'
import { GUEST_MAC } from '../virtio/net-frames.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-passt-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

const OWNER = join(import.meta.dirname, '../../support/passt-owner.ts')

const OPTIONS: PasstOptions = { program: 'passt', mtu: 1400, mac: GUEST_MAC, forwards: [] }

/** A program that stands for passt. */
function script(name: string, text: string): string {
  const path = join(DIRECTORY, name)
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return path
}

describe('Passt', () => {
  it('says what to install when the program is missing', async () => {
    await expect(Passt.start({ ...OPTIONS, program: 'no-such-passt' })).rejects.toThrow(
      'the user-mode network needs the program no-such-passt, which is not here: install passt',
    )
  })

  it('quotes the program when it ends at once', async () => {
    const noise = [`Can't run AVX2 build, using non-AVX2 version`, 'Failed to send 12 bytes to syslog']
    const lines = [...noise, 'No route at all'].map(line => `echo "${line}" >&2`)
    const program = script('refuses', [...lines, 'exit 1'].join('\n'))
    await expect(Passt.start({ ...OPTIONS, program })).rejects.toThrow(
      'the user-mode network does not start: passt says "No route at all"',
    )
  })

  it('is content with a program that serves without a word, and ends it though it does not see the end', async () => {
    const passt = await Passt.start({ ...OPTIONS, program: script('silent', 'exec sleep 600') })
    const { pid } = passt
    expect(existsSync(`/proc/${pid}`)).toBe(true)
    await passt[Symbol.asyncDispose]()
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })
})

describe('Passt with a program that looks at its descriptors', () => {
  it('hands it a socket that blocks, and nothing else', async () => {
    const list = join(DIRECTORY, 'descriptors')
    const words = `ls /proc/self/fd > ${list}; grep flags /proc/$$/fdinfo/3 >> ${list}; exec cat <&3 >/dev/null`
    await using _passt = await Passt.start({ ...OPTIONS, program: script('looks', words) })
    const [flags, ...fds] = readFileSync(list, 'utf8').trim().split('\n').reverse()
    expect(fds.map(Number).filter(fd => fd > 4)).toEqual([])
    expect(Number.parseInt(flags?.split('\t')[1] ?? '', 8) & constants.O_NONBLOCK).toBe(0)
  })
})

/** A guest with a passt of its own. */
async function guest() {
  const passt = await Passt.start(OPTIONS)
  const loop = new EventLoop()
  const backend = new UserNetworkBackend(passt.fd, loop, () => {})
  const device = new VirtioNet({ name: 'net', mac: GUEST_MAC, backend })
  const harness = deviceHarness(device, { real: true })
  const network = new GuestNetwork(harness, GUEST_MAC, () => loop.wait(1000))
  return {
    network,
    async [Symbol.asyncDispose]() {
      harness[Symbol.dispose]()
      loop[Symbol.dispose]()
      await passt[Symbol.asyncDispose]()
    },
  }
}

describeUnless(missingPasst(), 'Passt with the real program', () => {
  it('gives the guest an address, a router, a name server and the MTU', async () => {
    await using user = await guest()
    const lease = user.network.discover()
    expect(lease.address).toHaveLength(4)
    expect(lease.router).toHaveLength(4)
    expect(lease.dns.length).toBeGreaterThan(0)
    expect(lease.mtu).toBe(1400)
    expect(user.network.resolve(lease.router)).toHaveLength(6)
  })

  it('carries a megabyte over TCP from a server on the host', async () => {
    const content = randomBytes(1 << 20)
    const path = join(DIRECTORY, 'content')
    writeFileSync(path, content)
    // In a process of its own, as this one blocks while it plays the guest.
    await using server = await fileServer(path)
    await using user = await guest()
    const { router } = user.network.discover()
    const received = user.network.download(user.network.resolve(router), router, server.port)
    expect(received.length).toBe(content.length)
    expect(digest(received)).toBe(digest(content))
  })

  it('is gone when its socket is closed', async () => {
    const passt = await Passt.start(OPTIONS)
    const { pid } = passt
    expect(existsSync(`/proc/${pid}`)).toBe(true)
    await passt[Symbol.asyncDispose]()
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })

  it('is gone soon after we were killed', async () => {
    const owner = spawn(process.execPath, [OWNER], { stdio: ['ignore', 'pipe', 'inherit'] })
    const pid = await firstLine(owner.stdout)
    expect(existsSync(`/proc/${pid}`)).toBe(true)
    owner.kill('SIGKILL')
    await ended(pid)
    expect(existsSync(`/proc/${pid}`)).toBe(false)
  })
})

/** Resolves when a process that is no child of ours is gone; the test's own time limit ends the wait. */
async function ended(pid: string): Promise<void> {
  while (existsSync(`/proc/${pid}`)) await new Promise(resolve => setTimeout(resolve, 5))
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

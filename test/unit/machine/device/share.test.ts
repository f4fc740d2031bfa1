import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { BadInput, HostError } from '../../../../src/base/errors.ts'
import { openShare } from '../../../../src/machine/device/share.ts'
import { patternAt } from '../../../support/byte-pattern.ts'
import {
  freeze,
  missingUserNamespaces,
  missingVirtiofsd,
  processesWith,
  ShareBench,
  SharedFolder,
} from '../../../support/share-bench.ts'
import { describeUnless } from '../../../support/skip.ts'
import { AS_NOBODY } from '../../../support/unprivileged.ts'

const HOLDER = new URL('../../../support/share-holder.ts', import.meta.url).pathname
const PLAIN_PROGRAM = new URL('../../../support/vhost-user-program.ts', import.meta.url).pathname
const EROFS = 30
const EIO = 5
const MIB = 2 ** 20
const FUSE_LOOKUP = 1
const NAME = new TextEncoder().encode('name\0')

function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => patternAt(index))
}

function sha256(bytes: Uint8Array): string {
  return new Bun.CryptoHasher('sha256').update(bytes).digest('hex')
}

describeUnless(missingVirtiofsd(), 'a share', () => {
  it('gives the guest the files of the folder', async () => {
    using folder = new SharedFolder()
    const content = pattern(MIB)
    writeFileSync(join(folder.path, 'name'), content)
    await using bench = await ShareBench.open({ path: folder.path })
    const { fuse } = bench
    expect(fuse.init().version).toMatch(/^7\.\d+$/)
    const { node, size } = fuse.lookup('name')
    const { error, handle } = fuse.open(node, 0)
    expect([error, size]).toEqual([0, MIB])
    const parts = [0, 1, 2, 3].map(quarter => fuse.read(node, handle, (quarter * MIB) / 4, MIB / 4).body)
    expect(sha256(Buffer.concat(parts))).toBe(sha256(content))
    expect(fuse.forget(node)).toBe(0)
    expect(bench.harness.resetReasons).toEqual([])
  })

  it('takes what the guest writes', async () => {
    using folder = new SharedFolder()
    await using bench = await ShareBench.open({ path: folder.path })
    const { fuse } = bench
    const content = pattern(100_000)
    fuse.init()
    const { node, handle } = fuse.create('new')
    expect(fuse.write(node, handle, 0, content).error).toBe(0)
    expect(sha256(readFileSync(join(folder.path, 'new')))).toBe(sha256(content))
  })

  it('is read-only when asked to be', async () => {
    using folder = new SharedFolder()
    writeFileSync(join(folder.path, 'name'), 'content')
    await using bench = await ShareBench.open({ path: folder.path, readOnly: true })
    const { fuse } = bench
    fuse.init()
    const { node } = fuse.lookup('name')
    const text = new TextDecoder().decode(fuse.read(node, fuse.open(node, 0).handle, 0, 100).body)
    expect(text).toBe('content')
    expect(fuse.create('new').error).toBe(-EROFS)
    expect(fuse.open(node, 1).error).toBe(-EROFS)
    // For us it is as it was.
    writeFileSync(join(folder.path, 'name'), 'other')
  })

  it('works again after a reset of the device', async () => {
    using folder = new SharedFolder()
    writeFileSync(join(folder.path, 'name'), 'content')
    await using bench = await ShareBench.open({ path: folder.path })
    bench.fuse.init()
    expect(bench.harness.reset(() => bench.turn())).toBe(true)
    bench.harness.activate()
    bench.fuse.init()
    expect(bench.fuse.lookup('name').size).toBe(7)
    expect(bench.warnings).toEqual([])
  })

  it('answers for a program that was killed, and is served by the next one', async () => {
    using folder = new SharedFolder()
    writeFileSync(join(folder.path, 'name'), 'content')
    await using bench = await ShareBench.open({ path: folder.path })
    const { fuse, harness, warnings } = bench
    fuse.init()
    await freeze(folder.path)
    fuse.send(FUSE_LOOKUP, 1n, [NAME], [128])
    processesWith(folder.path).forEach(pid => void process.kill(pid, 'SIGKILL'))
    await bench.until(() => expect(warnings.at(-1)).toBe('share data: the program runs again'))
    // struct fuse_out_header: 16 bytes, -ENOTCONN.
    const words = new Int32Array(Uint8Array.from(harness.driver(1).poll()!.in[0]!).buffer)
    expect([...words.subarray(0, 2)]).toEqual([16, -107])
    expect(warnings[0]).toMatch(/^share data: the program is gone: .*SIGKILL/)
    // The guest's old mount is dead until it is made again.
    expect(fuse.lookup('name').error).toBe(-EIO)
    fuse.init()
    expect(fuse.lookup('name').size).toBe(7)
    expect(harness.resetReasons).toEqual([])
  })

  it('leaves no process behind', async () => {
    using folder = new SharedFolder()
    const bench = await ShareBench.open({ path: folder.path })
    expect(processesWith(folder.path).length).toBeGreaterThan(0)
    await bench[Symbol.asyncDispose]()
    expect(processesWith(folder.path)).toEqual([])
  })

  it.each(['rw', 'ro'])('leaves no process behind when its owner is killed (%s)', async mode => {
    using folder = new SharedFolder()
    const owner = Bun.spawn([process.execPath, HOLDER, folder.path, mode], { stdout: 'pipe' })
    const { value } = await owner.stdout.getReader().read()
    expect(new TextDecoder().decode(value)).toBe('shared\n')
    expect(processesWith(folder.path).length).toBeGreaterThan(1)
    owner.kill('SIGKILL')
    await owner.exited
    await vi.waitFor(() => expect(processesWith(folder.path)).toEqual([]), { timeout: 20_000 })
  })
})

describeUnless(missingUserNamespaces(), 'a share of a user without rights', () => {
  it.each(['rw', 'ro'])('runs in a user namespace, and leaves no process behind (%s)', async mode => {
    using folder = new SharedFolder()
    const owner = Bun.spawn([...AS_NOBODY, process.execPath, HOLDER, folder.path, mode], { stdout: 'pipe' })
    const { value } = await owner.stdout.getReader().read()
    expect(new TextDecoder().decode(value)).toBe('shared\n')
    owner.kill('SIGKILL')
    await owner.exited
    await vi.waitFor(() => expect(processesWith(folder.path)).toEqual([]), { timeout: 20_000 })
  })
})

describeUnless(missingVirtiofsd(), 'openShare', () => {
  it.each([
    ['a tag that is too long', { path: '/', tag: 'x'.repeat(37) }, /1 to 36 bytes, not 37/],
    ['a tag of many bytes', { path: '/', tag: 'ä'.repeat(19) }, /1 to 36 bytes, not 38/],
    ['no tag', { path: '/', tag: '' }, /1 to 36 bytes, not 0/],
    ['a missing folder', { path: '/missing', tag: 'x' }, /cannot share \/missing: there is no such directory/],
    ['a file', { path: '/etc/passwd', tag: 'x' }, /cannot share \/etc\/passwd: there is no such directory/],
    ['a path through a file', { path: '/etc/passwd/x', tag: 'x' }, /cannot share \/etc\/passwd\/x: /],
    ['a program that is none', { path: '/', tag: 'x', program: '/etc/passwd' }, /\/etc\/passwd is no program/],
  ])('refuses %s', async (_, config, reason) => {
    const refusal = openShare({ kind: 'share', ...config })
    await expect(refusal).rejects.toThrow(BadInput)
    await expect(refusal).rejects.toThrow(reason)
  })

  it('says what the program said when it does not run', async () => {
    const refusal = openShare({ kind: 'share', path: '/', tag: 'x', program: '/bin/false' })
    await expect(refusal).rejects.toThrow(HostError)
    await expect(refusal).rejects.toThrow(/cannot share \/ by virtiofsd: .*it ended with status 1/)
  })

  it('refuses a program that does not know VIRTIO 1, and ends it', async () => {
    using folder = new SharedFolder()
    const program = join(folder.path, 'program')
    writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${PLAIN_PROGRAM}" "$@"\n`, { mode: 0o755 })
    const refusal = openShare({ kind: 'share', path: folder.path, tag: 'x', program })
    await expect(refusal).rejects.toThrow(/virtiofsd does not know VIRTIO 1$/)
    expect(processesWith(folder.path)).toEqual([])
  })
})

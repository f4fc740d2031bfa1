import { constants, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { BadInput } from '../../../src/base/errors.ts'
import { openDisk } from '../../../src/machine/device/disk.ts'
import type { DiskConfig } from '../../../src/machine/device/disk-config.ts'
import { openTestDisk } from '../../support/disk.ts'

const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-open-disk-'))
afterAll(() => rmSync(DIRECTORY, { recursive: true }))

function image(name = `${crypto.randomUUID()}.img`, size = 65536): string {
  const path = join(DIRECTORY, name)
  writeFileSync(path, '')
  truncateSync(path, size)
  return path
}

/** What is refused: by name, with a path, a configuration, and the words of the message. */
type Refusal = [string, () => string, Partial<DiskConfig>, string]

/** The plan for a disk that is closed again. */
async function planOf(config: Omit<Parameters<typeof openDisk>[0], 'kind'>, cpus = 1) {
  const { plan, resources } = await openDisk({ kind: 'disk', ...config }, cpus)
  await resources[Symbol.asyncDispose]()
  return plan
}

describe('openDisk', () => {
  it('takes a sparse file as it is', async () => {
    expect(await planOf({ path: image() })).toMatchObject({
      size: 65536,
      readOnly: false,
      directAlignment: 0,
      geometry: { logical: 512, physical: 4096, minimal: 4096, optimal: 0, discard: 4096 },
      channel: undefined,
      warnings: [],
    })
  })

  it.each([
    [1, undefined, 1],
    [3, undefined, 3],
    [16, undefined, 4],
    [1, 8, 8],
  ])('gives a guest with %d vCPUs that asks for %s queues %d', async (cpus, queues, expected) => {
    const plan = await planOf({ path: image(), ...(queues === undefined ? {} : { queues }) }, cpus)
    expect(plan.queues).toBe(expected)
  })

  it.each([
    ['short', 'short'],
    ['a-name-of-more-than-20-bytes', 'f-more-than-20-bytes'],
    ['ein-übermaessig-langer-n', 'bermaessig-langer-n'],
  ])('takes the end of the file name as the serial number: %s', async (name, expected) => {
    expect((await planOf({ path: image(name) })).serial).toBe(expected)
  })

  it('leaves out the last part of a sector, and says so', async () => {
    const path = image(undefined, 1000)
    expect(await planOf({ path })).toMatchObject({
      size: 512,
      warnings: [`disk ${path} has 1000 bytes: the guest sees 512, in blocks of 512`],
    })
  })

  it('takes an empty file as a disk without sectors', async () => {
    await using disk = await openTestDisk({ path: image(undefined, 0) })
    expect(disk.read(0, 512).status).toBe(1)
    expect(disk.read(0, 0).status).toBe(0)
  })

  it.each([
    ['a missing file', () => join(DIRECTORY, 'none'), {}, 'does not exist: make it with truncate -s SIZE'],
    ['a directory', () => directory(), { readOnly: true }, 'is neither a file nor a block device'],
    ['a directory to write to', () => directory(), {}, 'is neither a file nor a block device'],
    ['a file that nobody may write', () => '/proc/sys/kernel/ostype', {}, 'ostype,ro to only read it (EACCES)'],
    ['a character device', () => '/dev/null', {}, 'is neither a file nor a block device'],
    ['no queues', () => image(), { queues: 0 }, 'queues must be 1 to 16, not 0'],
    ['too many queues', () => image(), { queues: 17 }, 'queues must be 1 to 16, not 17'],
    ['half a queue', () => image(), { queues: 1.5 }, 'queues must be 1 to 16, not 1.5'],
    ['a long serial number', () => image(), { serial: 'x'.repeat(21) }, 'is longer than 20 bytes'],
    ['pinned memory for a thread', () => image(), { io: 'threads', pinned: true }, 'pinned memory needs io_uring'],
  ] satisfies Refusal[])('refuses %s', async (_, path, config, message) => {
    const opening = openDisk({ kind: 'disk', path: path(), ...config }, 1)
    await expect(opening).rejects.toBeInstanceOf(BadInput)
    await expect(opening).rejects.toThrow(message)
  })

  it.each([
    ['two writers', false, false],
    ['a reader beside a writer', false, true],
    ['a writer beside a reader', true, false],
  ])('refuses %s of one file, and names it', async (_, first, second) => {
    const path = image()
    const { resources } = await openDisk({ kind: 'disk', path, readOnly: first }, 1)
    await expect(openDisk({ kind: 'disk', path, readOnly: second }, 1)).rejects.toThrow(`disk ${path} is in use`)
    await resources[Symbol.asyncDispose]()
    expect((await planOf({ path, readOnly: second })).readOnly).toBe(second)
  })

  it('leaves the file blocking: io_uring answers EAGAIN for others where it would have to wait', async () => {
    const { plan, resources } = await openDisk({ kind: 'disk', path: image() }, 1)
    const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${plan.fd}`, 'latin1'))
    await resources[Symbol.asyncDispose]()
    expect(Number.parseInt(flags![1]!, 8) & constants.O_NONBLOCK).toBe(0)
  })

  it('lets readers share a file', async () => {
    const path = image()
    const { resources } = await openDisk({ kind: 'disk', path, readOnly: true }, 1)
    expect((await planOf({ path, readOnly: true })).readOnly).toBe(true)
    await resources[Symbol.asyncDispose]()
  })
})

describe('createDisk', () => {
  it('makes a device that shows the plan', async () => {
    const path = image('shown.img')
    await using disk = await openTestDisk({ path, serial: 'S', queues: 2, readOnly: true })
    expect(disk.device.name).toBe(`disk ${path}`)
    expect(disk.device.queueSizes).toEqual([256, 256])
    expect(disk.write(0, new Uint8Array(512))).toBe(1)
  })

  it('passes on what the user should hear', async () => {
    const path = image(undefined, 513)
    await using disk = await openTestDisk({ path })
    expect(disk.warnings).toHaveLength(1)
  })
})

function directory(): string {
  const path = join(DIRECTORY, crypto.randomUUID())
  mkdirSync(path)
  return path
}

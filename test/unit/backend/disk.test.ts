import { constants, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { closeFd, openFd } from '../../../src/host/fd.ts'
import { takesDirect } from '../../../src/host/file.ts'
import { type DmaSpace, IdentitySpace } from '../../../src/memory/dma-space.ts'
import type { Extents } from '../../../src/memory/extents.ts'
import type { GuestMemory } from '../../../src/memory/guest-memory.ts'
import { VIRTIO_F_RING_EVENT_IDX, VIRTIO_F_RING_PACKED } from '../../../src/virtio/features.ts'
import { patternAt } from '../../support/byte-pattern.ts'
import { blkAnswer, blkHeader, openTestDisk, type TestDisk } from '../../support/disk.ts'
import { describeUnless } from '../../support/skip.ts'

const OK = 0
const IOERR = 1
const SECTORS = 4096
const DIRECTORY = mkdtempSync(join(tmpdir(), 'bulkhead-disk-'))
const SHARED_MEMORY = mkdtempSync('/dev/shm/bulkhead-disk-')
afterAll(() => {
  rmSync(DIRECTORY, { recursive: true })
  rmSync(SHARED_MEMORY, { recursive: true })
})

const PATTERN = new Uint8Array(SECTORS * 512).map((_, i) => patternAt(i))

/** A file with the pattern. */
function patternFile(directory = DIRECTORY): string {
  const path = join(directory, `${crypto.randomUUID()}.img`)
  writeFileSync(path, PATTERN)
  return path
}

const bytesOf = (path: string) => new Uint8Array(readFileSync(path))
const part = (sector: number, size: number) => PATTERN.slice(sector * 512, sector * 512 + size)
/** For large arrays, which `toEqual` takes seconds for. */
const isSame = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0
const blocks = (path: string) => statSync(path).blocks

/** Translates to pieces of `size` bytes, as an IOMMU with unlucky pages does. */
class ShreddedSpace implements DmaSpace {
  readonly version = 0
  readonly isRevocable = false
  private readonly whole: IdentitySpace

  constructor(
    readonly memory: GuestMemory,
    private readonly size: number,
  ) {
    this.whole = new IdentitySpace(memory)
  }

  addUser(): void {}

  removeUser(): void {}

  released(): void {}

  translate(iova: number, length: number, access: number, extents: Extents): boolean {
    for (let at = 0; at < length; at += this.size)
      if (!this.whole.translate(iova + at, Math.min(this.size, length - at), access, extents)) return false
    return true
  }
}

/** Random reads, writes and zeroes, each checked against a copy in memory; the first that differs, if any. */
function compareWithModel(disk: TestDisk, seed: number, count: number): string | undefined {
  const model = PATTERN.slice()
  let state = seed
  const random = (limit: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  for (let i = 0; i < count; i++) {
    const sector = random(SECTORS)
    const sectors = 1 + random(Math.min(200, SECTORS - sector))
    const from = sector * 512
    const to = from + sectors * 512
    const kind = random(4)
    const step = `step ${i}: ${kind} at ${sector} of ${sectors}`
    if (kind === 0) {
      const bytes = new Uint8Array(to - from).fill(1 + random(255))
      model.set(bytes, from)
      if (disk.write(sector, bytes) !== OK) return step
    } else if (kind === 1) {
      model.fill(0, from, to)
      if (disk.writeZeroes(sector, sectors, random(2)) !== OK) return step
    } else {
      const { status, data } = disk.read(sector, to - from)
      if (status !== OK || Buffer.compare(data, model.subarray(from, to)) !== 0) return step
    }
  }
  return Buffer.compare(disk.read(0, model.length).data, model) === 0 ? undefined : 'in the end'
}

describe.each([
  ['io_uring', { io: 'uring' }],
  ['io_uring with pinned memory', { io: 'uring', pinned: true }],
  ['a thread', { io: 'threads' }],
] as const)('Disk on %s', (_name, config) => {
  it('reads, writes and flushes a file', async () => {
    const path = patternFile()
    await using disk = await openTestDisk({ path, ...config })
    expect(disk.read(7, 4096)).toEqual({ status: OK, written: 4097, data: part(7, 4096) })
    expect(disk.write(9, new Uint8Array(1024).fill(1))).toBe(OK)
    expect(disk.flush()).toBe(OK)
    const expected = PATTERN.slice().fill(1, 9 * 512, 11 * 512)
    expect(isSame(bytesOf(path), expected)).toBe(true)
    expect(disk.warnings).toEqual([])
  })

  it('keeps a whole disk right through hundreds of random requests', async () => {
    await using disk = await openTestDisk({ path: patternFile(), ...config })
    expect(compareWithModel(disk, 42, 300)).toBeUndefined()
  })

  it.each([
    ['split', 0n],
    ['packed', VIRTIO_F_RING_PACKED | VIRTIO_F_RING_EVENT_IDX],
  ])('does 64 reads and 64 writes that come at once: %s', async (_, features) => {
    const path = patternFile()
    await using disk = await openTestDisk({ path, ...config }, { features })
    const driver = disk.harness.driver(0)
    const writes = Array.from({ length: 64 }, (_, i) => i)
    const expected = PATTERN.slice()
    for (const i of writes) {
      const bytes = new Uint8Array(1024).fill(i + 1)
      expected.set(bytes, i * 2048)
      driver.add({ out: [blkHeader(1, i * 4), bytes], in: [1] })
    }
    driver.kick()
    const written = writes.map(() => blkAnswer(disk.harness.receive(0, disk.turn)).status)
    expect(written).toEqual(Array(64).fill(OK))
    const tokens = writes.map(i => driver.add({ out: [blkHeader(0, i * 4)], in: [2048, 1] }))
    driver.kick()
    const read = writes.map(() => disk.harness.receive(0, disk.turn)).sort((a, b) => a.token - b.token)
    expect(read.map(({ token }) => token)).toEqual(tokens)
    expect(isSame(Buffer.concat(read.map(used => blkAnswer(used).data)), expected.subarray(0, 64 * 2048))).toBe(true)
    expect(isSame(bytesOf(path), expected)).toBe(true)
  })

  it('moves a megabyte at once', async () => {
    await using disk = await openTestDisk({ path: patternFile(), ...config })
    const bytes = PATTERN.slice(1000, 1000 + 2 ** 20)
    expect(disk.write(2, bytes)).toBe(OK)
    expect(isSame(disk.read(2, 2 ** 20).data, bytes)).toBe(true)
  })

  it('moves buffers that cross two windows of memory', async () => {
    await using disk = await openTestDisk({ path: patternFile(), ...config })
    const request = { out: [blkHeader(0, 3)], in: [65536, 1], place: 'crossing' as const }
    expect(disk.request({ ...request, out: [], in: [1], place: 'crossing' }).status).toBe(IOERR)
    expect(isSame(disk.request(request).data, part(3, 65536))).toBe(true)
  })

  it('moves buffers of more pieces than one system call takes', async () => {
    const space = ({ memory }: { readonly memory: GuestMemory }) => new ShreddedSpace(memory, 48)
    await using disk = await openTestDisk({ path: patternFile(), ...config }, { space })
    expect(isSame(disk.read(5, 65536).data, part(5, 65536))).toBe(true)
    expect(disk.write(500, part(5, 65536))).toBe(OK)
    expect(isSame(disk.read(500, 65536).data, part(5, 65536))).toBe(true)
  })

  it('makes holes for discards and for zeroes that may unmap, and only for them', async () => {
    const path = patternFile()
    await using disk = await openTestDisk({ path, ...config })
    const before = blocks(path)
    expect(disk.writeZeroes(0, 256)).toBe(OK)
    disk.flush()
    expect(blocks(path)).toBe(before)
    expect(disk.writeZeroes(256, 256, 1)).toBe(OK)
    expect(blocks(path)).toBe(before - 256)
    expect(disk.discard(512, 512)).toBe(OK)
    expect(blocks(path)).toBe(before - 768)
    expect(isSame(disk.read(0, 1024 * 512).data, new Uint8Array(1024 * 512))).toBe(true)
    expect(bytesOf(path).length).toBe(PATTERN.length)
  })

  it('writes zeroes itself where the file system cannot make them', async () => {
    const path = patternFile(SHARED_MEMORY)
    await using disk = await openTestDisk({ path, ...config })
    expect(disk.writeZeroes(1, SECTORS - 2)).toBe(OK)
    const expected = PATTERN.slice().fill(0, 512, (SECTORS - 1) * 512)
    expect(isSame(bytesOf(path), expected)).toBe(true)
    expect(disk.warnings).toEqual([])
  })

  it('answers with an I/O error, and tells once, where the file has become shorter', async () => {
    const path = patternFile()
    await using disk = await openTestDisk({ path, ...config })
    truncateSync(path, 2048)
    expect(disk.read(3, 1024).status).toBe(IOERR)
    expect(disk.read(100, 512).status).toBe(IOERR)
    expect(disk.read(0, 2048)).toMatchObject({ status: OK, data: part(0, 2048) })
    expect(disk.warnings).toEqual([`disk ${path}: read of 512 bytes at 2048 failed: the file ends there`])
  })

  it('answers with an I/O error, and names call and errno, what the host refuses', async () => {
    const path = patternFile()
    const fd = openFd(path, constants.O_RDONLY)
    const change = config.io === 'uring' ? withFd(fd) : withThreadFd
    await using disk = await openTestDisk({ path, ...config, readOnly: config.io === 'threads' }, { change })
    expect(disk.write(1, part(8, 512))).toBe(IOERR)
    expect(disk.warnings).toEqual([`disk ${path}: write of 512 bytes at 512 failed: EBADF (errno 9)`])
    expect(isSame(bytesOf(path), PATTERN)).toBe(true)
    closeFd(fd)
  })

  it('lets a reset wait for what is under way, and can be used afterwards', async () => {
    const path = patternFile()
    await using disk = await openTestDisk({ path, ...config })
    const driver = disk.harness.driver(0)
    const sectors = Array.from({ length: 32 }, (_, i) => i * 64)
    for (const sector of sectors) driver.add({ out: [blkHeader(1, sector), new Uint8Array(32768).fill(5)], in: [1] })
    driver.kick()
    expect(disk.harness.reset(disk.turn)).toBe(true)
    disk.harness.activate()
    expect(disk.read(0, 512).data).toEqual(new Uint8Array(512).fill(5))
  })

  it('finishes what is under way before it is closed', async () => {
    const path = patternFile()
    const disk = await openTestDisk({ path, ...config })
    const driver = disk.harness.driver(0)
    const sectors = Array.from({ length: 32 }, (_, i) => i * 64)
    for (const sector of sectors) driver.add({ out: [blkHeader(1, sector), new Uint8Array(32768).fill(5)], in: [1] })
    driver.kick()
    await disk[Symbol.asyncDispose]()
    expect(isSame(bytesOf(path).subarray(0, 32 * 32768), new Uint8Array(32 * 32768).fill(5))).toBe(true)
  })

  it('can be opened again at once after it was closed', async () => {
    const path = patternFile()
    await (await openTestDisk({ path, ...config }))[Symbol.asyncDispose]()
    await using again = await openTestDisk({ path, ...config })
    expect(again.read(1, 512).status).toBe(OK)
  })

  it('reads what another program wrote to the file, cached or not', async () => {
    const path = patternFile()
    await using disk = await openTestDisk({ path, ...config })
    disk.read(0, 512)
    writeFileSync(path, new Uint8Array(SECTORS * 512).fill(3))
    expect(disk.read(0, 512).data).toEqual(new Uint8Array(512).fill(3))
  })
})

describeUnless(missingDirect(), 'Disk past the page cache', () => {
  describe.each(['uring', 'threads'] as const)('on %s', io => {
    it('moves aligned buffers', async () => {
      await using disk = await openTestDisk({ path: patternFile(), direct: true, io })
      const request = { out: [blkHeader(0, 8)], in: [8192, 1] }
      expect(disk.request(request)).toMatchObject({ status: OK, data: part(8, 8192) })
    })

    it.each([
      ['at odd addresses', 1 << 20],
      ['in odd pieces', 1000],
    ])('moves buffers %s', async (_, size) => {
      const path = patternFile()
      const space = ({ memory }: { readonly memory: GuestMemory }) => new ShreddedSpace(memory, size)
      await using disk = await openTestDisk({ path, direct: true, io }, { space })
      const bytes = part(3, 600 * 1024)
      const answer = disk.request({ out: [Buffer.concat([blkHeader(1, 16), bytes])], in: [1] })
      expect(answer.status).toBe(OK)
      expect(isSame(disk.read(16, 600 * 1024).data, bytes)).toBe(true)
      expect(isSame(bytesOf(path).subarray(8192, 8192 + bytes.length), bytes)).toBe(true)
      expect(disk.warnings).toEqual([])
    })

    it('keeps a whole disk right through hundreds of random requests', async () => {
      await using disk = await openTestDisk({ path: patternFile(), direct: true, io })
      expect(compareWithModel(disk, 7, 200)).toBeUndefined()
    })
  })
})

/** Why the temporary directory has no direct I/O with sectors of 512 bytes; undefined if it has. */
function missingDirect(): string | undefined {
  const path = patternFile()
  try {
    const fd = openFd(path, constants.O_RDONLY | constants.O_DIRECT)
    const takes = takesDirect(fd, 512)
    closeFd(fd)
    return takes ? undefined : `${tmpdir()} has no direct I/O in sectors of 512 bytes`
  } catch {
    return `${tmpdir()} has no direct I/O`
  }
}

/** The device thread gets another descriptor. */
function withFd(fd: number) {
  return <Plan extends object>(plan: Plan): Plan => ({ ...plan, fd })
}

/** The I/O thread has a read-only descriptor, and the device does not know. */
function withThreadFd<Plan extends object>(plan: Plan): Plan {
  return { ...plan, readOnly: false }
}
